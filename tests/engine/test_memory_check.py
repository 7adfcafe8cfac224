"""Whether a model fits is known before a weight is read, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm.engine import build
from ftllm.engine.build import BuildOptions, BuiltModel, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.engine.kv_capacity import KvDemand, least_kv_bytes
from ftllm.engine.machine import FreeMemory, free_memory
from ftllm.engine.memory_check import MemoryNeed, check_memory
from ftllm.errors import OptionError
from tests.checkpoints.quantized_models import write_golden
from tests.checkpoints.quantized_parts import CASES
from tests.engine.machine_files import V2, v1, write_groups, write_limits
from tests.golden.gguf_files import write_gguf
from tests.golden.rows import load_row, write_model

MIB = 1 << 20
PLENTY = FreeMemory(1 << 50, "are free")


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> list[MemoryNeed]:
    """What was checked."""
    needs: list[MemoryNeed] = []

    def check(need: MemoryNeed, *, free: FreeMemory, space: FreeMemory | None) -> None:
        needs.append(need)

    monkeypatch.setattr(build, "check_memory", check)
    return needs


def load(path: Path, options: BuildOptions, read: list[int] | None = None) -> BuiltModel:
    checkpoint = open_checkpoint(path)
    try:
        return build_model(checkpoint, options, on_bytes=([] if read is None else read).append)
    finally:
        checkpoint.close()


def model(name: str, folder: Path) -> Path:
    row = load_row(name.removesuffix(".gguf"))
    if name.endswith(".gguf"):
        return write_gguf(row, folder / name)
    return write_model(row, folder / name)


@pytest.mark.parametrize("dtype", ["auto", "float32", "int8", "int4g32", "q8_0"])
@pytest.mark.parametrize("name", ["llama_gqa", "qwen2.gguf", "qwen3_moe", "qwen3_moe.gguf"])
def test_what_is_foretold_is_what_is_taken(
    needs: list[MemoryNeed], tmp_path: Path, name: str, dtype: str
) -> None:
    built = load(model(name, tmp_path), BuildOptions(dtype=dtype, tokens=96, threads=1))
    (need,) = needs
    assert need.weights == built.packed_bytes
    assert need.kv_cache == built.kv_bytes
    assert need.reserved >= need.weights
    assert not need.refused


@pytest.mark.parametrize("scheme", CASES)
def test_weights_of_several_parts(needs: list[MemoryNeed], tmp_path: Path, scheme: str) -> None:
    path = write_golden(tmp_path / "model", scheme, exact=False)
    built = load(path, BuildOptions(tokens=64, threads=1))
    assert [need.weights for need in needs] == [built.packed_bytes]


def test_nothing_is_read_when_it_cannot_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = model("llama_gqa", tmp_path)
    monkeypatch.setattr(build, "free_memory", lambda: FreeMemory(100_000, "are free here"))
    read: list[int] = []
    with pytest.raises(OptionError, match=r"its weights are 1 MiB.*only 0 MiB are free here"):
        load(path, BuildOptions(tokens=64), read)
    assert read == []


NEED = MemoryNeed(weights=700 * MIB, kv_cache=100 * MIB, reserved=1024 * MIB)


def test_enough_is_enough() -> None:
    check_memory(NEED, free=FreeMemory(800 * MIB, "x"), space=None)
    check_memory(NEED, free=PLENTY, space=FreeMemory(1124 * MIB, "x"))


@pytest.mark.parametrize("version", [1, 2])
def test_a_control_group_that_is_too_small(tmp_path: Path, version: int) -> None:
    if version == 2:
        write_groups(tmp_path, cgroup="0::/box", mounts=[V2])
        group = tmp_path / "sys/fs/cgroup/box"
        write_limits(group, {"memory.max": 900 * MIB, "memory.current": 150 * MIB})
    else:
        write_groups(tmp_path, cgroup="4:memory:/box", mounts=[v1("memory")])
        group = tmp_path / "sys/fs/cgroup/memory/box"
        limits = {"memory.limit_in_bytes": 900 * MIB, "memory.usage_in_bytes": 150 * MIB}
        write_limits(group, limits)
    (tmp_path / "proc/meminfo").write_text("MemAvailable:   8388608 kB\n")
    with pytest.raises(OptionError) as caught:
        check_memory(NEED, free=free_memory(tmp_path), space=None)
    message = str(caught.value)
    assert "takes 800 MiB of memory" in message
    assert "weights are 700 MiB" in message
    assert "at least 100 MiB" in message
    assert "only 750 MiB are left under the memory limit of this process's control" in message
    for way_out in ("smaller model", "--dtype", "--tokens", "--kv_cache_limit", "raise the limit"):
        assert way_out in message


def test_a_machine_that_is_too_small(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemAvailable:   {799 * 1024} kB\n")
    with pytest.raises(OptionError, match="only 799 MiB are free on this machine"):
        check_memory(NEED, free=free_memory(tmp_path), space=None)


def test_address_space_that_is_too_small() -> None:
    space = FreeMemory(1123 * MIB, "are left")
    with pytest.raises(OptionError, match="reserves at least 1124 MiB of address space"):
        check_memory(NEED, free=PLENTY, space=space)
    refused = MemoryNeed(weights=1, kv_cache=1, reserved=1, refused=True)
    with pytest.raises(OptionError, match="only 1123 MiB are left"):
        check_memory(refused, free=PLENTY, space=space)


def test_the_least_of_a_demand() -> None:
    def least(*, limit_bytes: int | None = None, tokens: int | None = None) -> int:
        demand = KvDemand(limit_bytes=limit_bytes, tokens=tokens, max_model_len=4096, max_batch=8)
        return least_kv_bytes(demand, block_bytes=1000, block_size=32)

    assert least() == 1000
    assert least(tokens=33) == 2000
    assert least(limit_bytes=12_345) == 12_345
