"""Quantization from float32: how far a value may move, for every block format."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm import _core
from tests.formats.gguf_blocks import Float32Array, decode, random_blocks
from tests.kernels.matrices import FLOAT_FORMATS, packed, source_columns

_BLOCK_FORMATS = [name for name in _core.weight_formats() if name not in FLOAT_FORMATS]
_HALF = 2.0**-11  # relative rounding of a binary16 scale

_BITS = {"q4_0": 4, "q4_1": 4, "q5_0": 5, "q5_1": 5, "q4_k": 4, "q5_k": 5, "q6_k": 6}


def largest_error(name: str, block: Float32Array) -> float:
    """Half a step of the format's grid over this block, and what rounding its scales adds.

    Where the grid is one step shorter on one side (4 bits: -8 to 7), a value at that end may be
    off by a whole step.
    """
    peak, low, high = float(np.abs(block).max()), float(block.min()), float(block.max())
    if name in ("q8_0", "int8"):
        return peak / 127 * (0.5 + 127 * _HALF)
    if name in ("q4_0", "q5_0"):
        return peak / 2 ** (_BITS[name] - 1) * (1 + 2**5 * _HALF)
    if name in ("q4_k", "q5_k"):
        # 6-bit scales and mins: each off by half of 1/63 of the largest of the eight groups.
        top = 2 ** _BITS[name] - 1
        span = high - min(low, 0.0)
        return span / top * 0.52 + span / 126 * 1.1 + max(-low, 0.0) / 126 * 1.1
    if name == "q6_k":
        return peak / 32 * 1.01 + peak * 32 / 32 / 254 * 1.01
    return (high - low) / _top(name) * 0.52 + 2 * peak * _HALF


def _top(name: str) -> int:
    return 2 ** _BITS.get(name, 4) - 1


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_errors_are_within_the_grid(name: str, scale: float) -> None:
    block = _core.format_block(name)[0]
    random = np.random.default_rng(3)
    values = (random.standard_normal((19, 2 * block)) * scale).astype(np.float32)
    found = packed(name, 19, 2 * block, values.tobytes(), "f32").unpack()
    for row, back in zip(values.reshape(-1, block), found.reshape(-1, block), strict=True):
        # K formats' scales of small weights lie in binary16's subnormal range, in steps of 2^-24.
        subnormal = 2.0**-25 * (63 * 31 if "_k" in name else 128)
        assert np.abs(row - back).max() <= largest_error(name, row) + subnormal


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_quantizing_is_close_in_direction(name: str) -> None:
    block = _core.format_block(name)[0]
    values = np.random.default_rng(4).standard_normal((24, 2 * block)).astype(np.float32)
    found = packed(name, 24, 2 * block, values.tobytes(), "f32").unpack()
    cosine = (values * found).sum() / np.sqrt((values**2).sum() * (found**2).sum())
    limit = {8: 0.9999, 6: 0.999, 5: 0.998, 4: 0.985}
    bits = 8 if name in ("q8_0", "int8") else _BITS.get(name, 4)
    assert cosine >= limit[bits]


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_zeros_stay_zeros(name: str) -> None:
    block = _core.format_block(name)[0]
    found = packed(name, 5, block, bytes(20 * block), "f32").unpack()
    assert (found == 0.0).all()


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
@pytest.mark.parametrize("value", [-2.0, 0.75])
def test_constant_rows(name: str, value: float) -> None:
    """A block whose spread is zero has no step to divide by."""
    block = _core.format_block(name)[0]
    values = np.full((3, block), value, np.float32)
    found = packed(name, 3, block, values.tobytes(), "f32").unpack()
    assert np.abs(found - value).max() <= 0.02 * abs(value)


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_one_outlier_costs_its_own_block_alone(name: str) -> None:
    block = _core.format_block(name)[0]
    values = np.random.default_rng(5).standard_normal((1, 3 * block)).astype(np.float32)
    clean = packed(name, 1, 3 * block, values.tobytes(), "f32").unpack()
    values[0, block + 3] = 1000.0
    found = packed(name, 1, 3 * block, values.tobytes(), "f32").unpack()
    np.testing.assert_array_equal(found[:, :block], clean[:, :block])
    np.testing.assert_array_equal(found[:, 2 * block :], clean[:, 2 * block :])
    assert abs(found[0, block + 3] - 1000.0) <= 1000 * 0.04


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_values_beyond_binary16_scales_are_seen(name: str) -> None:
    """They become infinite or NaN, which the sampler reports, and not some other number."""
    block = _core.format_block(name)[0]
    values = np.full((1, block), 1e9, np.float32)
    values[0, 1] = -1e9
    found = packed(name, 1, block, values.tobytes(), "f32").unpack()
    assert not np.isfinite(found).any()


@pytest.mark.parametrize("columns", [1, 31, 33, 100, 129, 300])
@pytest.mark.parametrize("name", ["int8", "int4g32", "int4g64", "int4g128", "int4g256"])
def test_formats_made_at_load_take_any_number_of_columns(name: str, columns: int) -> None:
    """The last block is filled up with zeros, which may widen its range to include zero."""
    assert source_columns(name) == 1
    values = np.random.default_rng(6).uniform(1.0, 2.0, (11, columns)).astype(np.float32)
    found = packed(name, 11, columns, values.tobytes(), "f32").unpack()
    assert found.shape == (11, columns)
    assert np.abs(found - values).max() <= 2.0 / 15 * 0.52


@pytest.mark.parametrize("source", ["f16", "bf16", "q8_0", "q4_k"])
def test_conversion_goes_through_the_values(source: str) -> None:
    """int8 made from another format is int8 made from that format's values."""
    values = np.random.default_rng(7).standard_normal((16, 256)).astype(np.float32)
    middle = packed(source, 16, 256, values.tobytes(), "f32").unpack()
    if source == "f16":
        data = middle.astype("<f2").tobytes()
    elif source == "bf16":
        data = (middle.view(np.uint32) >> 16).astype("<u2").tobytes()
    else:
        blocks = random_blocks(source, 16 * 256 // _core.format_block(source)[0], 8)
        middle, data = decode(source, blocks).reshape(16, 256), blocks.tobytes()
    found = packed("int8", 16, 256, data, source).unpack()
    direct = packed("int8", 16, 256, np.ascontiguousarray(middle).tobytes(), "f32").unpack()
    np.testing.assert_array_equal(found, direct)


@pytest.mark.parametrize("name", _BLOCK_FORMATS)
def test_bits_per_weight(name: str) -> None:
    """Packing does not expand what a file holds in few bits."""
    weight = _core.Weight(format=name, rows=256, columns=1024)
    bits = {
        "q8_0": 8.5, "q4_0": 4.5, "q4_1": 5.0, "q5_0": 5.5, "q5_1": 6.0, "q4_k": 4.625,
        "q5_k": 5.625, "q6_k": 6.5625, "int8": 8.125, "int4g32": 5.0, "int4g64": 4.5,
        "int4g128": 4.25, "int4g256": 4.125,
    }  # fmt: skip
    assert weight.nbytes * 8 / (256 * 1024) == bits[name]
