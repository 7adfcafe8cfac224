"""Hugging Face repositories, through the real huggingface_hub and an endpoint of our own.

huggingface_hub reads HF_ENDPOINT when it is imported, so each look-up runs in its own process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sources.fake_hub import COMMIT, FakeHub, fake_hub

SAFETENSORS = {
    "README.md": b"hello",
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": bytes(300_000),
    "tokenizer.json": b"{}",
    "onnx/model.onnx": bytes(1000),
}
GGUF = {"README.md": b"hello", "m-Q4_0.gguf": b"GGUF four", "m-Q8_0.gguf": b"GGUF eight"}

_PROGRAM = """
import json, sys
from pathlib import Path
from ftllm.errors import FtllmError
from ftllm.sources.download import download
from ftllm.sources.resolve import resolve
from recorder import Recorder

call, options = sys.argv[1], json.loads(sys.argv[2])
for key in ("cache_dir", "local_dir"):
    if options.get(key):
        options[key] = Path(options[key])
progress = Recorder()
try:
    if call == "resolve":
        path = resolve(models_file=None, progress=progress, **options).path
    else:
        path = download(models_file=None, progress=progress, **options)
    answer = {"path": str(path)}
except FtllmError as error:
    answer = {"error": str(error)}
answer["tasks"] = [[task.label, task.done, task.total] for task in progress.tasks]
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Answer:
    """What a process printed: a path or an error, its progress tasks, and its stderr."""

    path: Path
    error: str
    tasks: list[list[object]]
    stderr: str


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as running:
        running.repositories = {"owner/tiny": SAFETENSORS, "owner/tiny-GGUF": GGUF}
        running.gated = {"owner/gated"}
        yield running


def run(
    call: str, endpoint: str, options: Mapping[str, object], *, offline: bool = False
) -> Answer:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, call, json.dumps(options)],
        env=environment,
        cwd=Path(__file__).parent,  # where no folder is called ftllm
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    path = Path(answer.get("path", ""))
    return Answer(path, answer.get("error", ""), answer["tasks"], done.stderr)


def find(
    hub: FakeHub,
    model: str,
    *,
    revision: str | None = None,
    cache_dir: str | None = None,
    offline: bool = False,
) -> Answer:
    options = {"model": model, "cache_dir": cache_dir, "revision": revision}
    return run("resolve", hub.url, options, offline=offline)


def fetch(
    hub: FakeHub,
    model: str,
    *,
    local_dir: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Answer:
    options = {"model": model, "cache_dir": None, "revision": None, "local_dir": local_dir}
    return run("download", hub.url, {**options, "include": include, "exclude": exclude})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_safetensors_repository(hub: FakeHub, tmp_path: Path) -> None:
    answer = find(hub, "owner/tiny")
    assert names(answer.path) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (answer.path / "model.safetensors").read_bytes() == bytes(300_000)
    assert answer.path.is_relative_to(tmp_path / "cache" / "hub")
    size = sum(len(SAFETENSORS[name]) for name in names(answer.path))
    assert answer.tasks == [["downloading owner/tiny", size, size]]
    assert "\r" not in answer.stderr  # the library's own bars are hidden
    count = len(hub.downloads)
    assert find(hub, "owner/tiny", revision=COMMIT).path == answer.path
    assert len(hub.downloads) == count


def test_a_gguf_repository(hub: FakeHub, tmp_path: Path) -> None:
    other = tmp_path / "other"
    answer = find(hub, "owner/tiny-GGUF:q8_0", cache_dir=str(other))
    assert answer.path.read_bytes() == b"GGUF eight"
    assert answer.path.is_relative_to(other / "hub")
    assert hub.downloads == ["owner/tiny-GGUF/m-Q8_0.gguf"]
    error = find(hub, "owner/tiny-GGUF").error
    assert "choose one of:\n  owner/tiny-GGUF:m-Q4_0.gguf\n  owner/tiny-GGUF:m-Q8_0.gguf" in error


def test_files_on_disk_serve_without_the_endpoint(hub: FakeHub) -> None:
    path = find(hub, "owner/tiny").path
    gguf = find(hub, "owner/tiny-GGUF:Q4_0").path
    assert find(hub, "owner/tiny", offline=True).path == path
    assert find(hub, "owner/tiny-GGUF:Q4_0", offline=True).path == gguf
    assert find(hub, "owner/tiny-GGUF", offline=True).path == gguf  # the only one on disk
    error = find(hub, "owner/tiny-GGUF:Q8_0", offline=True).error
    assert "only files on disk count, since offline mode is on" in error
    error = find(hub, "owner/tiny", revision="v2", offline=True).error
    assert "revision v2 is not on disk" in error
    nowhere = FakeHub("http://127.0.0.1:9")  # nothing listens there
    assert find(nowhere, "owner/tiny").path == path
    error = find(nowhere, "owner/tine").error
    assert "http://127.0.0.1:9 cannot be reached" in error
    assert "near matches: owner/tiny" in error


def test_errors_of_the_endpoint(hub: FakeHub) -> None:
    find(hub, "owner/tiny")
    error = find(hub, "owner/tinny").error
    assert f"no such repository at {hub.url}" in error
    assert "near matches: owner/tiny" in error
    assert "no revision 'v9'" in find(hub, "owner/tiny", revision="v9").error
    assert "accept its terms" in find(hub, "owner/gated").error
    assert "not a repository id" in find(hub, "owner/a--b").error


def test_download_into_a_folder(hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    answer = fetch(hub, "owner/tiny", local_dir=str(target))
    assert answer.path == target
    assert names(target) == ["config.json", "model.safetensors", "tokenizer.json"]
    answer = fetch(hub, "owner/tiny-GGUF:Q4_0", local_dir=str(tmp_path / "g"))
    assert answer.path == tmp_path / "g" / "m-Q4_0.gguf"
    assert answer.path.read_bytes() == b"GGUF four"


def test_download_of_chosen_files(hub: FakeHub, tmp_path: Path) -> None:
    answer = fetch(hub, "owner/tiny", include=["*.md", "*.onnx"], exclude=["READ*"])
    assert [p.name for p in answer.path.rglob("*") if p.is_file()] == ["model.onnx"]
    answer = fetch(hub, "owner/tiny", exclude=["*.safetensors"], local_dir=str(tmp_path / "x"))
    assert names(answer.path) == ["config.json", "tokenizer.json"]
    assert "no file is left; it has: README.md" in fetch(hub, "owner/tiny", include=["*.bin"]).error
