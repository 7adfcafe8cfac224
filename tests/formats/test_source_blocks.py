"""Weights packed from a file's own bytes unpack to what the file means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from ftllm.errors import CheckpointError, UnsupportedModelError
from tests.formats.gguf_blocks import BLOCK_FORMATS, Float32Array, decode, random_blocks
from tests.golden.rows import to_bfloat16
from tests.kernels.matrices import FLOAT_FORMATS, packed

_ROWS = (1, 8, 13, 16, 35)  # panels have 8 or 16


def file_matrix(name: str, rows: int, seed: int = 0) -> tuple[bytes, Float32Array]:
    """A matrix's bytes in a file of format `name`, and its values (rows, K)."""
    if name in BLOCK_FORMATS:
        blocks = random_blocks(name, rows * 3, seed)
        return blocks.tobytes(), decode(name, blocks).reshape(rows, -1)
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, 45)).astype(np.float32)
    if name == "f16":
        return values.astype("<f2").tobytes(), values.astype("<f2").astype(np.float32)
    if name == "bf16":
        bits = to_bfloat16(values).astype(np.uint32)
        return bits.astype("<u2").tobytes(), (bits << 16).view(np.float32)
    return values.tobytes(), values


_STORED = (*(name for name in FLOAT_FORMATS if name != "fp8"), *BLOCK_FORMATS)
# Blocks that engine/checkpoints/ makes: their values are in tests/checkpoints/test_quantization.py.
_FROM_SCHEMES = ("fp8", "int4z32", "int4z64", "int4z128", "nvfp4")


def test_the_sweep_covers_every_format() -> None:
    made_at_load = [name for name in _core.weight_formats() if _core.format_block(name)[1] == 0]
    assert sorted([*_STORED, *_FROM_SCHEMES, *made_at_load]) == sorted(_core.weight_formats())
    assert all(name.startswith("int") for name in made_at_load)


@pytest.mark.parametrize("rows", _ROWS)
@pytest.mark.parametrize("name", _STORED)
def test_unpacking_gives_the_exact_values(name: str, rows: int) -> None:
    data, values = file_matrix(name, rows)
    weight = packed(name, rows, values.shape[1], data, name)
    np.testing.assert_array_equal(weight.unpack(), values)


@pytest.mark.parametrize("name", _STORED)
def test_every_format_widens_to_float32(name: str) -> None:
    data, values = file_matrix(name, 13)
    weight = packed("f32", 13, values.shape[1], data, name)
    np.testing.assert_array_equal(weight.unpack(), values)


@pytest.mark.parametrize("name", _STORED)
def test_rows_come_in_the_order_asked_for(name: str) -> None:
    data, values = file_matrix(name, 35)
    order = np.random.default_rng(1).permutation(35)
    weight = packed(name, 35, values.shape[1], data, name, order=order)
    np.testing.assert_array_equal(weight.unpack(), values[order])


@pytest.mark.parametrize("name", _STORED)
def test_rows_filled_in_parts(name: str) -> None:
    panel = _core.panel_rows()
    rows = 2 * panel + 3
    data, values = file_matrix(name, rows)
    row_bytes = len(data) // rows
    weight = _core.Weight(format=name, rows=rows, columns=values.shape[1])
    for first, count in ((panel, panel), (2 * panel, 3), (0, panel)):
        weight.fill(
            first_row=first,
            count=count,
            source=name,
            data=memoryview(data)[first * row_bytes : (first + count) * row_bytes],
            pool=_core.ThreadPool(threads=1),
        )
    np.testing.assert_array_equal(weight.unpack(), values)


def test_every_16_bit_pattern() -> None:
    """All of binary16 and bfloat16, subnormals and infinities included."""
    patterns = np.arange(1 << 16, dtype=np.uint16).reshape(64, 1024)
    for name, values in (
        ("f16", patterns.view(np.float16).astype(np.float32)),
        ("bf16", (patterns.astype(np.uint32) << 16).view(np.float32)),
    ):
        weight = packed(name, 64, 1024, patterns.tobytes(), name)
        np.testing.assert_array_equal(weight.unpack(), values)


def test_float32_rounds_to_nearest_even_in_16_bits() -> None:
    random = np.random.default_rng(2)
    values = random.standard_normal((16, 512)) * 10.0 ** random.integers(-9, 5, (16, 512))
    values = values.astype(np.float32)
    values[0, :6] = [1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 65520.0, 2**-25, 1 + 2**-8]
    half = packed("f16", 16, 512, values.tobytes(), "f32").unpack()
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(half, values.astype(np.float16).astype(np.float32))
    bfloat = packed("bf16", 16, 512, values.tobytes(), "f32").unpack()
    bits = to_bfloat16(values).astype(np.uint32) << 16
    np.testing.assert_array_equal(bfloat, bits.view(np.float32))


def fill(
    weight: _core.Weight,
    *,
    first_row: int = 0,
    count: int,
    source: str = "f32",
    size: int,
    order: npt.NDArray[np.int64] | None = None,
) -> None:
    weight.fill(
        first_row=first_row,
        count=count,
        source=source,
        data=memoryview(bytes(size)),
        order=order,
        pool=_core.ThreadPool(threads=1),
    )


def test_data_of_another_length_is_refused() -> None:
    weight = _core.Weight(format="q8_0", rows=4, columns=64)
    with pytest.raises(CheckpointError, match=r"4 rows of 64 q8_0 values take 272 bytes, not 271"):
        fill(weight, count=4, source="q8_0", size=271)


def test_columns_that_are_not_whole_blocks_are_refused() -> None:
    weight = _core.Weight(format="f32", rows=1, columns=48)
    with pytest.raises(CheckpointError, match="48 columns cannot be stored as q4_0"):
        fill(weight, count=1, source="q4_0", size=27)


@pytest.mark.parametrize(
    ("first_row", "count"), [(0, 0), (0, 41), (1, 16), (0, 3), (48, 1), (-16, 16)]
)
def test_rows_outside_or_between_panels_are_refused(first_row: int, count: int) -> None:
    weight = _core.Weight(format="f32", rows=40, columns=2)
    with pytest.raises(CheckpointError, match="cannot be filled"):
        fill(weight, first_row=first_row, count=count, size=8 * max(count, 0))


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 3], [0, 1, -1]])
def test_row_orders_outside_the_rows_are_refused(order: list[int]) -> None:
    weight = _core.Weight(format="f32", rows=3, columns=2)
    with pytest.raises(CheckpointError, match="row order"):
        fill(weight, count=3, size=24, order=np.array(order, np.int64))


def test_unknown_formats_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'tq1_0' is not supported.*q4_k"):
        _core.Weight(format="tq1_0", rows=1, columns=1)
    with pytest.raises(UnsupportedModelError, match="int8 is made at load"):
        fill(_core.Weight(format="int8", rows=1, columns=8), count=1, source="int8", size=8)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 4, 4)])
def test_empty_weights_are_refused(shape: tuple[int, int, int]) -> None:
    rows, columns, experts = shape
    with pytest.raises(CheckpointError, match="at least 1"):
        _core.Weight(format="f32", rows=rows, columns=columns, experts=experts)


def test_absurdly_large_weights_are_refused() -> None:
    """Sizes whose product overflows 64 bits too."""
    for rows, columns in ((1 << 40, 1 << 40), (1 << 62, 1), (1, 1 << 62), (1 << 24, 1 << 24)):
        with pytest.raises(CheckpointError, match="no machine can hold it"):
            _core.Weight(format="f32", rows=rows, columns=columns)
