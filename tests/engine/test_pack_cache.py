"""Packed weights on disk: the same bits as without, and never those of other weights."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from ftllm.engine import pack_cache, pack_file
from ftllm.engine.build import BuildOptions, BuiltModel, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.errors import OptionError
from tests.checkpoints.quantized_models import write_golden
from tests.engine.models.steps import DEFAULTS, Part, logits
from tests.golden.rows import load_row, write_model

Float32Array = npt.NDArray[np.float32]
_ROOT = Path(__file__).parents[2]
_IDS = tuple(range(1, 20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "packed"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return settled(write_model(load_row("llama"), tmp_path / "model"))


def settled(path: Path) -> Path:
    """Waits until the clock of the file system has moved on."""
    time.sleep(0.1)
    return path


def start(model: Path, folder: Path, options: BuildOptions | None = None) -> BuiltModel:
    options = options or replace(DEFAULTS, pack_cache="on", dtype="int8")
    return build_model(
        open_checkpoint(model), replace(options, pack_folder=folder), on_bytes=lambda _: None
    )


def answer(built: BuiltModel) -> Float32Array:
    (rows,) = logits(built.core, [Part(_IDS, range(2))])
    return rows


def was_read(built: BuiltModel) -> bool:
    return any(note.startswith("packed   read from") for note in built.notes)


def was_kept(built: BuiltModel) -> bool:
    return any(note.startswith("packed   kept for") for note in built.notes)


def packs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pack"))


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "qwen3_moe"])
@pytest.mark.parametrize("dtype", ["auto", "int8", "int4g32"])
def test_the_second_start_has_the_same_bits(
    tmp_path: Path, folder: Path, name: str, dtype: str
) -> None:
    path = settled(write_model(load_row(name), tmp_path / "model"))
    options = replace(DEFAULTS, pack_cache="on", dtype=dtype, threads=2)
    plain = answer(start(path, folder, replace(options, pack_cache="off")))
    assert packs(folder) == []
    first = start(path, folder, options)
    second = start(path, folder, options)
    assert was_kept(first)
    assert was_read(second)
    np.testing.assert_array_equal(answer(first), plain)
    np.testing.assert_array_equal(answer(second), plain)
    assert second.weight_formats == first.weight_formats
    assert second.packed_bytes == first.packed_bytes


def test_a_quantized_checkpoint(tmp_path: Path, folder: Path) -> None:
    path = settled(write_golden(tmp_path / "model", "awq", exact=False))
    options = replace(DEFAULTS, pack_cache="on", dtype="auto")
    first, second = (start(path, folder, options) for _ in range(2))
    assert was_read(second)
    np.testing.assert_array_equal(answer(first), answer(second))


def test_a_hit_counts_the_same_progress(model: Path, folder: Path) -> None:
    options = replace(DEFAULTS, pack_cache="on", pack_folder=folder)
    totals = []
    for _ in range(2):
        counts: list[int] = []
        build_model(open_checkpoint(model), options, on_bytes=counts.append)
        totals.append(sum(counts))
    assert totals[0] == totals[1] > 0


def test_auto_keeps_what_took_long(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = replace(DEFAULTS, pack_cache="auto")
    quick = start(model, folder, auto)
    assert quick.notes == ()
    assert packs(folder) == []
    monkeypatch.setattr(pack_cache, "_WORTH_SECONDS", 0.0)
    assert was_kept(start(model, folder, auto))
    monkeypatch.undo()
    assert was_read(start(model, folder, auto))


def test_an_unknown_mode_lists_the_known() -> None:
    with pytest.raises(OptionError, match="pack_cache is 'yes'; supported are auto, on, off"):
        replace(DEFAULTS, pack_cache="yes").check()


def flip(path: Path, at: int, *, bit: int = 1) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def negate_a_weight(path: Path, name: str) -> None:
    """In place, leaving size, inode and the time of modification as they were."""
    times = path.stat()
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:start])[name]
    flip(path, start + entry["data_offsets"][0] + 3, bit=0x80)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("name", ["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"])
def test_a_changed_checkpoint_is_packed_again(model: Path, folder: Path, name: str) -> None:
    before = answer(start(model, folder))
    negate_a_weight(model / "model.safetensors", f"model.layers.0.{name}.weight")
    settled(model)
    expected = answer(start(model, folder, replace(DEFAULTS, pack_cache="off", dtype="int8")))
    assert not np.array_equal(expected, before)
    changed = start(model, folder)
    assert not was_read(changed)
    np.testing.assert_array_equal(answer(changed), expected)
    again = start(model, folder)
    assert was_read(again)
    np.testing.assert_array_equal(answer(again), expected)


def test_another_configuration_is_packed_again(model: Path, folder: Path) -> None:
    start(model, folder)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert not was_read(start(model, folder))


def test_copied_and_touched_files_are_recognized_by_their_content(
    model: Path, folder: Path, tmp_path: Path
) -> None:
    start(model, folder)
    copy = settled(Path(shutil.copytree(model, tmp_path / "other name")))
    assert was_read(start(copy, folder))
    (model / "model.safetensors").touch()
    assert was_read(start(settled(model), folder))
    assert len(packs(folder)) == 1


def test_a_known_content_is_not_read_again(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(model, folder)
    monkeypatch.setattr(
        "ftllm.engine.checkpoints.mapped_checkpoint.content",
        lambda _: pytest.fail("the files were read whole"),
    )
    assert was_read(start(model, folder))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "\0"])
def test_a_damaged_index_costs_reading_the_files(model: Path, folder: Path, text: str) -> None:
    start(model, folder)
    (index,) = folder.glob("*.json")
    index.write_text(text)
    assert was_read(start(model, folder))
    assert len(json.loads(index.read_text())) == 1


def test_a_checkpoint_of_this_moment_is_not_kept(model: Path, folder: Path) -> None:
    (model / "model.safetensors").touch()
    built = start(model, folder)
    assert "not kept: the model's files changed a moment ago" in built.notes[0]
    assert packs(folder) == []


def test_each_dtype_has_its_own_file(model: Path, folder: Path) -> None:
    dtypes = ("int8", "int4g32", "bfloat16", "auto")
    options = [replace(DEFAULTS, pack_cache="on", dtype=dtype) for dtype in dtypes]
    for each in options:
        assert was_kept(start(model, folder, each))
    assert len(packs(folder)) == len(dtypes)
    for each in options:
        built = start(model, folder, each)
        assert was_read(built)
        plain = start(model, folder, replace(each, pack_cache="off"))
        np.testing.assert_array_equal(answer(built), answer(plain))


def test_each_panel_layout_has_its_own_file(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(model, folder)
    monkeypatch.setattr(_core, "packed_layout", lambda: "panels of 5 rows")
    assert was_kept(start(model, folder))
    monkeypatch.undo()
    assert was_read(start(model, folder))
    assert len(packs(folder)) == 2


_OTHER_PROCESS = """
import sys
sys.path.append(sys.argv.pop())  # at the end: this tree's folder ftllm/ is not the package
from dataclasses import replace
from pathlib import Path
from ftllm import _core
from tests.engine.models.steps import DEFAULTS
from tests.engine.test_pack_cache import answer, start
plain, *cached = (
    answer(start(*map(Path, sys.argv[1:]), replace(DEFAULTS, dtype="int8", pack_cache=mode)))
    for mode in ("off", "on", "on")
)
assert all((plain == each).all() for each in cached)
print(_core.packed_layout())
"""


@pytest.mark.parametrize("isa", ["scalar", _core.isa()])
def test_other_instruction_sets_take_only_their_own_layout(
    model: Path, folder: Path, isa: str
) -> None:
    start(model, folder)
    layout = subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, str(model), str(folder), str(_ROOT)],
        env={**os.environ, "FTLLM_ISA": isa},
        cwd=model.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert len(packs(folder)) == len({layout, _core.packed_layout()})


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def lengthen(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut_the_prefix(path: Path) -> None:
    os.truncate(path, 20)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        truncate, lengthen, empty, cut_the_prefix,
        lambda path: flip(path, 3),  # magic
        lambda path: flip(path, 9),  # the header's length
        lambda path: flip(path, 14),
        lambda path: flip(path, 20),  # its digest
        lambda path: flip(path, 100),  # the header
        lambda path: flip(path, (4096 + path.stat().st_size) // 2),
    ],
)  # fmt: skip
def test_a_damaged_file_is_replaced(
    model: Path, folder: Path, damage: Callable[[Path], None]
) -> None:
    expected = answer(start(model, folder))
    (path,) = packs(folder)
    sound = path.read_bytes()
    damage(path)
    again = start(model, folder, replace(DEFAULTS, pack_cache="auto", dtype="int8"))
    assert "is of no use" in again.notes[0]
    assert was_kept(again)
    np.testing.assert_array_equal(answer(again), expected)
    assert path.read_bytes() == sound


def test_every_flipped_byte_of_a_weight_is_seen(model: Path, folder: Path) -> None:
    start(model, folder)
    (path,) = packs(folder)
    size = path.stat().st_size
    header = json.loads(path.read_bytes()[48:].split(b"\0", 1)[0])
    begin = size - header["bytes"]
    random = np.random.default_rng(3)
    weights = header["weights"]
    for weight in (weights[i] for i in random.integers(len(weights), size=12)):
        flip(path, begin + weight["offset"] + int(random.integers(weight["bytes"])))
        assert f"the bytes of {weight['name']} are damaged" in start(model, folder).notes[0]


def test_what_cannot_be_a_file_is_no_obstacle(model: Path, folder: Path) -> None:
    expected = answer(start(model, folder))
    replace_by_a_folder(packs(folder)[0])
    built = start(model, folder)
    assert built.notes[-1].startswith("warning  packed weights could not be kept in")
    np.testing.assert_array_equal(answer(built), expected)
    assert not list(folder.glob("*.partial"))


def test_a_full_disk_is_a_warning(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_file: object, _data: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pack_file, "_write", write)
    built = start(model, folder)
    (note,) = built.notes
    assert note.startswith("warning  packed weights could not be kept in")
    assert "No space left on device; make room, or give --pack_cache off" in note
    assert list(folder.glob("*.p*")) == []
    assert np.isfinite(answer(built)).all()


def test_an_almost_full_disk_is_left_alone(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=(1 << 30) + 5))
    built = start(model, folder)
    assert "would leave too little of 1024 MiB free" in built.notes[0]
    assert list(folder.glob("*.p*")) == []


def test_a_folder_that_cannot_be_made(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    built = start(model, tmp_path / "file" / "packed")
    assert "could not be kept in" in built.notes[-1]
    assert np.isfinite(answer(built)).all()


def test_a_checkpoint_that_changes_while_it_is_packed(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pack_file._write

    def change_and_write(file: object, data: object) -> None:
        (model / "model.safetensors").touch()
        write(file, data)  # type: ignore[arg-type]

    monkeypatch.setattr(pack_file, "_write", change_and_write)
    built = start(model, folder)
    assert "have changed since they were opened" in built.notes[0]
    assert list(folder.glob("*.p*")) == []


def test_writers_at_the_same_time(model: Path, folder: Path) -> None:
    expected = answer(start(model, folder, replace(DEFAULTS, pack_cache="off", dtype="int8")))
    for _ in range(3):
        with ThreadPoolExecutor(4) as threads:
            built = list(threads.map(lambda _: start(model, folder), range(4)))
        for each in built:
            np.testing.assert_array_equal(answer(each), expected)
        assert was_read(start(model, folder))
        assert not list(folder.glob("*.partial"))
        shutil.rmtree(folder)


def test_partial_files_of_killed_writers_are_removed(model: Path, folder: Path) -> None:
    folder.mkdir()
    old, new = folder / "a.pack.1.partial", folder / "b.pack.2.partial"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    start(model, folder)
    assert not old.exists()
    assert new.exists()


def test_the_least_recently_used_files_go_first(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8, bfloat16, int4 = (
        replace(DEFAULTS, pack_cache="on", dtype=dtype) for dtype in ("int8", "bfloat16", "int4g32")
    )
    start(model, folder, int8)
    start(model, folder, bfloat16)
    time.sleep(0.05)
    start(model, folder, int8)  # the last use
    total = sum(path.stat().st_size for path in packs(folder))
    monkeypatch.setattr(pack_cache, "_LIMIT_BYTES", total)
    start(model, folder, int4)
    assert {path.name.split("-")[0] for path in packs(folder)} == {"int8", "int4g32"}
    assert len(list(folder.glob("*.json"))) == 2


def test_a_shared_folder_that_is_read_only(model: Path, folder: Path) -> None:
    start(model, folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert was_read(start(model, folder))
    finally:
        folder.chmod(0o755)
