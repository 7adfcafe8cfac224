"""Packed weights read back from a file: the same bytes, or a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftllm import _core
from ftllm.errors import CheckpointError
from tests.kernels.matrices import random_weight


@pytest.mark.parametrize("groups", [(0, 0, 0), (0, 1, 2)])
@pytest.mark.parametrize("format", ["f32", "int8", "int4g32"])
@pytest.mark.parametrize("shape", [(1, 64), (333, 128), (2000, 96)])
def test_bytes_and_checksum_come_back(
    tmp_path: Path, groups: tuple[int, ...], format: str, shape: tuple[int, int]
) -> None:
    rows, columns = shape
    weight = random_weight(format, rows, columns, seed=1)
    pool = _core.ThreadPool(threads=3, groups=groups)
    (tmp_path / "w").write_bytes(b"\1" * 12 + bytes(memoryview(weight)))
    found = _core.Weight(format=format, rows=rows, columns=columns)
    with (tmp_path / "w").open("rb") as file:
        reader = _core.InputFile(file.fileno())
    checksum = found.read(file=reader, offset=12, pool=pool)
    assert checksum == weight.checksum(pool=pool) == found.checksum(pool=pool)
    np.testing.assert_array_equal(found.unpack(), weight.unpack())


def test_experts_come_back(tmp_path: Path) -> None:
    pool = _core.ThreadPool(threads=2, groups=(0, 1))
    data = np.random.default_rng(2).standard_normal((3, 40, 32)).astype(np.float32)
    weight, found = (_core.Weight(format="f32", rows=40, columns=32, experts=3) for _ in range(2))
    for e in range(3):
        part = memoryview(data[e].tobytes())
        weight.fill(expert=e, first_row=0, count=40, source="f32", data=part, pool=pool)
    (tmp_path / "w").write_bytes(bytes(memoryview(weight)))
    with (tmp_path / "w").open("rb") as file:
        found.read(file=_core.InputFile(file.fileno()), offset=0, pool=pool)
    for e in range(3):
        np.testing.assert_array_equal(found.unpack(e), data[e])


def test_every_bit_changes_the_checksum() -> None:
    pool = _core.ThreadPool(threads=1)
    data = bytearray(random_weight("f32", 3, 5, seed=3).unpack().tobytes())

    def checksum() -> int:
        weight = _core.Weight(format="f32", rows=3, columns=5)
        weight.fill(first_row=0, count=3, source="f32", data=memoryview(data), pool=pool)
        return weight.checksum(pool=pool)

    sums = {checksum()}
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        sums.add(checksum())
        data[bit // 8] ^= 1 << bit % 8
    assert len(sums) == 8 * len(data) + 1


def test_a_file_that_ends_too_early(tmp_path: Path) -> None:
    weight = random_weight("f32", 64, 64, seed=1)
    (tmp_path / "w").write_bytes(bytes(weight.nbytes - 1))
    with (tmp_path / "w").open("rb") as file:
        reader = _core.InputFile(file.fileno())
    with pytest.raises(CheckpointError, match="cannot be read: the file ends too early"):
        weight.read(file=reader, offset=0, pool=_core.ThreadPool(threads=2))


def test_a_descriptor_that_cannot_be_read(tmp_path: Path) -> None:
    weight = random_weight("f32", 64, 64, seed=1)
    with (tmp_path / "w").open("wb") as file:
        reader = _core.InputFile(file.fileno())
    with pytest.raises(CheckpointError, match="cannot be read: Bad file descriptor"):
        weight.read(file=reader, offset=0, pool=_core.ThreadPool(threads=1))
    with pytest.raises(CheckpointError, match="cannot be kept open"):
        _core.InputFile(-1)
