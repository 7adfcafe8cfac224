"""Quantization from float32: how far a value may move, for every block format."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm import _core
from tests.formats.gguf_blocks import Float32Array, decode, random_blocks
from tests.kernels.matrices import FLOAT_FORMATS, packed, source_columns

_BLOCK_FORMATS = [name for name in _core.weight_formats() if name not in FLOAT_FORMATS]
# Root mean square error over root mean square value, for normal values: what each format may lose.
# The IQ1 to IQ3 formats quantize to their codes in memory, one by one and not by points of a grid.
_LOSS = {
    "fp8": 0.028, "q8_0": 0.0056, "int8": 0.0069, "q6_k": 0.0175, "q5_1": 0.0355, "q5_k": 0.0375,
    "q5_0": 0.042, "q4_1": 0.073, "q4_k": 0.0745, "iq4_nl": 0.078, "iq4_xs": 0.078, "q4_0": 0.085,
    "nvfp4": 0.105, "mxfp4": 0.117, "q3_k": 0.151, "q2_k": 0.287, "int4g32": 0.073,
    "int4g64": 0.086, "int4g128": 0.097, "int4g256": 0.107, "int4z32": 0.082, "int4z64": 0.096,
    "int4z128": 0.11, "iq3_s": 0.089, "iq3_xxs": 0.087, "iq2_s": 0.189, "iq2_xs": 0.189,
    "iq2_xxs": 0.211, "iq1_m": 0.297, "iq1_s": 0.329,
}  # fmt: skip
_MEASURED = [name for name in _core.weight_formats() if name not in ("f32", "f16", "bf16")]


def relative_error(values: Float32Array, found: Float32Array) -> float:
    return float(np.sqrt(((values - found) ** 2).mean() / (values**2).mean()))


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
@pytest.mark.parametrize("name", _MEASURED)
def test_errors_are_those_of_the_format(name: str, scale: float) -> None:
    random = np.random.default_rng(3)
    values = (random.standard_normal((48, 512)) * scale).astype(np.float32)
    found = packed(name, 48, 512, values.tobytes(), "f32").unpack()
    loss = relative_error(values, found)
    assert 0.8 * _LOSS[name] < loss < _LOSS[name]
    # No value is lost: none is off by more than the largest of its block is worth.
    assert np.abs(values - found).max() <= 0.4 * np.abs(values).max()


@pytest.mark.parametrize("name", ["q8_0", "int8"])
def test_bytes_are_off_by_half_a_step(name: str) -> None:
    block = _core.format_block(name)[0]
    values = np.random.default_rng(3).standard_normal((19, 2 * block)).astype(np.float32)
    found = packed(name, 19, 2 * block, values.tobytes(), "f32").unpack()
    steps = np.abs(values.reshape(-1, block)).max(axis=1, keepdims=True) / 127
    errors = np.abs(values - found).reshape(-1, block)
    assert (errors <= steps * (0.5 + 127 * 2.0**-11)).all()


@pytest.mark.parametrize(
    ("name", "columns", "top"), [("int4g32", 32, 15), ("int4g128", 128, 15), ("q5_1", 32, 31)]
)
def test_the_search_beats_the_range(name: str, columns: int, top: int) -> None:
    """Least squares over several ranges loses less than steps from minimum to maximum, for values
    with heavy tails as weights have."""
    values = np.random.default_rng(9).standard_t(5, (32, 512)).astype(np.float32)
    groups = values.reshape(-1, columns)
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    plain = np.rint((groups - low) / (high - low) * top) / top * (high - low) + low
    found = packed(name, 32, 512, values.tobytes(), "f32").unpack()
    assert relative_error(values, found) < 0.97 * relative_error(groups, plain)


@pytest.mark.parametrize("name", ["int4g32", "int4g64", "int4g128", "int4g256"])
def test_the_search_seldom_loses_to_the_range(name: str) -> None:
    """In no group much, in all together clearly less: errors weighted by rms + |x|, which is what
    the search makes least."""
    columns = _core.format_block(name)[0]
    values = np.random.default_rng(4).standard_t(5, (64, 1024)).astype(np.float32)
    groups = values.reshape(-1, columns)
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    plain = np.rint((groups - low) / (high - low) * 15) / 15 * (high - low) + low
    found = packed(name, 64, 1024, values.tobytes(), "f32").unpack().reshape(groups.shape)
    weights = np.sqrt((groups**2).mean(axis=1, keepdims=True)) + np.abs(groups)
    searched_error = (weights * (groups - found) ** 2).sum(axis=1)
    plain_error = (weights * (groups - plain) ** 2).sum(axis=1)
    assert (searched_error < 1.1 * plain_error).all()
    assert searched_error.sum() < 0.93 * plain_error.sum()


@pytest.mark.parametrize("name", ["mxfp4", "iq4_nl"])
def test_values_of_a_codebook_come_back(name: str) -> None:
    """Blocks that a format holds exactly are found by its search, for every code."""
    source = decode(name, random_blocks(name, 64, 2)).reshape(8, 256).astype(np.float32)
    found = packed(name, 8, 256, source.tobytes(), "f32").unpack()
    assert relative_error(source, found) < 0.012


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


@pytest.mark.parametrize("name", [n for n in _BLOCK_FORMATS if n not in ("mxfp4", "nvfp4")])
def test_values_beyond_binary16_scales_are_seen(name: str) -> None:
    """They become infinite or NaN, which the sampler reports, and not some other number."""
    block = _core.format_block(name)[0]
    values = np.full((1, block), 1e9, np.float32)
    values[0, 1] = -1e9
    found = packed(name, 1, block, values.tobytes(), "f32").unpack()
    assert not np.isfinite(found).any()


@pytest.mark.parametrize("columns", [1, 31, 33, 100, 129, 300])
@pytest.mark.parametrize(
    "name", ["int8", "int4g32", "int4g64", "int4g128", "int4g256", "int4z64", "nvfp4", "fp8"]
)
def test_formats_made_at_load_take_any_number_of_columns(name: str, columns: int) -> None:
    """The last block is filled up with zeros, which may widen its range to include zero."""
    assert source_columns(name) == 1
    values = np.random.default_rng(6).uniform(1.0, 2.0, (11, columns)).astype(np.float32)
    found = packed(name, 11, columns, values.tobytes(), "f32").unpack()
    assert found.shape == (11, columns)
    step = 1.0 if name == "nvfp4" else 2.0 / 15
    assert np.abs(found - values).max() <= step * 0.8  # a range a little smaller may win


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
        "int4g128": 4.25, "int4g256": 4.125, "int4z32": 4.75, "int4z64": 4.375,
        "int4z128": 4.1875, "q2_k": 2.625, "q3_k": 3.5625, "iq4_nl": 4.5, "iq4_xs": 4.3125,
        "mxfp4": 4.25, "nvfp4": 4.625, "iq3_s": 4.3125, "iq3_xxs": 4.3125, "iq2_s": 3.5625,
        "iq2_xs": 3.5625, "iq2_xxs": 3.3125, "iq1_m": 3.5625, "iq1_s": 3.3125,
    }  # fmt: skip
    assert weight.nbytes * 8 / (256 * 1024) == bits[name]
