"""Linear layers of every weight format against float64, and bit for bit against themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from tests.kernels.matrices import (
    FLOAT_FORMATS,
    Float32Array,
    packed,
    quantize,
    random_weight,
    source_columns,
)

_EPS = 2.0**-24  # of one rounding in float32
_ROWS = (1, 2, 3, 5, 8, 9, 17, 40)
_N = 37  # not a multiple of any panel
FORMATS = _core.weight_formats()
CODEBOOKS = [name for name in FORMATS if name.startswith(("iq", "mxfp4", "nvfp4"))]
BLOCK_FORMATS = [name for name in FORMATS if name not in FLOAT_FORMATS]


def columns_of(name: str) -> int:
    """A K of a few blocks; odd where the format allows it."""
    unit = source_columns(name)
    return 3 * unit if unit > 1 else 331


def inputs(rows: int, columns: int, seed: int = 0) -> Float32Array:
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, columns)).astype(np.float32)


def quantized_oracle(
    weight: _core.Weight, x: Float32Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(M, N): the exact product of quantized activations and weights, and Σ |terms|."""
    codes, scales = quantize(x)
    values = codes.astype(np.float64) * np.repeat(scales, 32, axis=1)
    values = values[:, : x.shape[1]]
    w = weight.unpack().astype(np.float64)
    return values @ w.T, np.abs(values) @ np.abs(w).T


@pytest.mark.parametrize("rows", _ROWS)
@pytest.mark.parametrize("name", FLOAT_FORMATS)
def test_float_formats_agree_with_float64(name: str, rows: int) -> None:
    columns = columns_of(name)
    weight = random_weight(name, _N, columns, seed=1)
    x = inputs(rows, columns)
    w = weight.unpack().astype(np.float64)
    found = _core.kernels.linear(weight=weight, x=x)
    bound = 2 * columns * _EPS * (np.abs(x) @ np.abs(w).T)
    assert (np.abs(found - x.astype(np.float64) @ w.T) <= bound).all()


@pytest.mark.parametrize("rows", _ROWS)
@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_block_formats_agree_with_quantized_activations(name: str, rows: int) -> None:
    """Integers within a group are exact; what rounds is a few operations for each group. The
    terms of a format with mins are larger than the weights: code · scale and min cancel."""
    columns = columns_of(name)
    weight = random_weight(name, _N, columns, seed=2)
    x = inputs(rows, columns, seed=rows)
    found = _core.kernels.linear(weight=weight, x=x)
    expected, size = quantized_oracle(weight, x)
    groups = -(-columns // 16)
    cancellation = 8 if _has_min(name) else 1
    assert (np.abs(found - expected) <= 4 * groups * _EPS * cancellation * size + 1e-30).all()


def _has_min(name: str) -> bool:
    return name in ("q4_1", "q5_1", "q2_k", "q4_k", "q5_k") or name.startswith("int4")


@pytest.mark.parametrize("name", BLOCK_FORMATS)
def test_block_formats_are_close_to_the_true_product(name: str) -> None:
    """Each activation is off by at most half a step, max|x| / 254 of its block."""
    columns = columns_of(name)
    weight = random_weight(name, _N, columns, seed=3)
    x = inputs(9, columns, seed=3)
    w = weight.unpack().astype(np.float64)
    steps = np.repeat(quantize(x)[1], 32, axis=1)[:, :columns].astype(np.float64)
    bound = 0.501 * steps @ np.abs(w).T + 1e-4 * (np.abs(x) @ np.abs(w).T)
    found = _core.kernels.linear(weight=weight, x=x)
    assert (np.abs(found - x.astype(np.float64) @ w.T) <= bound).all()


@pytest.mark.parametrize("n", [1, 7, 16, 33, 130])
@pytest.mark.parametrize("name", FORMATS)
def test_rows_have_the_same_bits_in_any_company(name: str, n: int) -> None:
    """Whatever M, the row's place, the panels of a call, the rows of a call, and the threads."""
    columns = columns_of(name)
    weight = random_weight(name, n, columns, seed=4)
    x = inputs(40, columns, seed=4)
    bias = np.linspace(-1, 1, n, dtype=np.float32)
    together = _core.kernels.linear(weight=weight, x=x, bias=bias)
    for rows in _ROWS:
        for first in {0, 1, 40 - rows}:
            part = x[first : first + rows]
            found = _core.kernels.linear(weight=weight, x=part, bias=bias)
            np.testing.assert_array_equal(found, together[first : first + rows][:rows])
    tile = _core.kernels.tile_rows()
    for rows_per_call, panels, threads in ((tile, 1, 1), (2 * tile, 2, 2), (40 * tile, 3, 2)):
        found = _core.kernels.linear(
            weight=weight,
            x=x,
            bias=bias,
            rows_per_call=rows_per_call,
            panels_per_call=panels,
            threads=threads,
        )
        np.testing.assert_array_equal(found, together)


@pytest.mark.parametrize("name", FORMATS)
def test_bias_is_added_once(name: str) -> None:
    columns = columns_of(name)
    weight = random_weight(name, _N, columns, seed=5)
    x = inputs(5, columns, seed=5)
    bias = inputs(1, _N, seed=6)[0]
    without = _core.kernels.linear(weight=weight, x=x)
    found = _core.kernels.linear(weight=weight, x=x, bias=bias)
    np.testing.assert_array_equal(found, without + bias)


@pytest.mark.parametrize("name", ["int8", "int4g32", "int4g128", "int4g256", "int4z32", "nvfp4"])
@pytest.mark.parametrize("columns", [1, 31, 33, 130, 257])
def test_formats_made_at_load_take_any_number_of_columns(name: str, columns: int) -> None:
    """What pads the last block counts as zero."""
    weight = random_weight(name, _N, columns, seed=7)
    x = inputs(5, columns, seed=7)
    found = _core.kernels.linear(weight=weight, x=x)
    expected, size = quantized_oracle(weight, x)
    assert (np.abs(found - expected) <= 1e-5 * size + 1e-30).all()


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q5_0", "q3_k", "q6_k", "int8", *CODEBOOKS])
def test_largest_codes_do_not_overflow(name: str) -> None:
    """Every weight at one end of its range against activations at the ends of theirs."""
    columns = max(256, source_columns(name))
    values = np.full((_N, columns), -1.0, np.float32)
    weight = packed(name, _N, columns, values.tobytes(), "f32")
    x = np.where(np.arange(columns) % 64 < 32, 1.0, -1.0).astype(np.float32)[None, :] * 3
    x[:, :64] = 3.0
    found = _core.kernels.linear(weight=weight, x=x)
    expected, size = quantized_oracle(weight, x)
    assert (np.abs(found - expected) <= 1e-5 * size).all()
    assert abs(float(expected[0, 0])) > 64


@pytest.mark.parametrize("place", [slice(None), 0, 21, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_row_is_seen(name: str, value: float, place: int | slice) -> None:
    """A NaN or an infinity is not lost, wherever it stands, and harms its own row alone."""
    columns = columns_of(name)
    weight = random_weight(name, _N, columns, seed=8)
    x = inputs(3, columns, seed=8)
    clean = _core.kernels.linear(weight=weight, x=x)
    x[1, place] = value
    found = _core.kernels.linear(weight=weight, x=x)
    assert not np.isfinite(found[1]).any()
    np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])


def test_experts_are_separate() -> None:
    weight = _core.Weight(format="q8_0", rows=_N, columns=64, experts=3)
    pool = _core.ThreadPool(threads=1)
    matrices = [inputs(_N, 64, seed=expert) for expert in range(3)]
    for expert, matrix in enumerate(matrices):
        weight.fill(
            expert=expert,
            first_row=0,
            count=_N,
            source="f32",
            data=memoryview(matrix.tobytes()),
            pool=pool,
        )
    x = inputs(2, 64, seed=9)
    for expert, matrix in enumerate(matrices):
        single = packed("q8_0", _N, 64, matrix.tobytes(), "f32")
        found = _core.kernels.linear(weight=weight, x=x, expert=expert)
        np.testing.assert_array_equal(found, _core.kernels.linear(weight=single, x=x))
        np.testing.assert_array_equal(weight.unpack(expert), single.unpack())
