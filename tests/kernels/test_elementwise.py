"""Value-by-value kernels against float64, at the ends of the float range, and in odd lengths."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_COUNTS = (1, 7, 8, 15, 16, 17, 333)
_EXTREMES = np.array(
    [0.0, -0.0, 1e-38, -1e-38, 1e-45, 0.5, -0.5, 5.0, -5.0, 87.0, -87.0, 88.5, -88.5, 104.0,
     -104.0, 1e4, -1e4, 1e19, -1e19, 3e38, -3e38],
    np.float32,
)  # fmt: skip


def values(count: int, seed: int = 0) -> Float32Array:
    return (np.random.default_rng(seed).standard_normal(count) * 4).astype(np.float32)


def silu(x: Float64Array) -> Float64Array:
    with np.errstate(over="ignore"):
        return x / (1.0 + np.exp(-x))


def gelu(x: Float64Array) -> Float64Array:
    inner = math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1.0 + np.tanh(inner))


_GATED: dict[str, tuple[Callable[..., Float32Array], Callable[[Float64Array], Float64Array]]] = {
    "silu": (_core.kernels.silu_mul, silu),
    "gelu": (_core.kernels.gelu_mul, gelu),
}


@pytest.mark.parametrize("count", _COUNTS)
@pytest.mark.parametrize("name", _GATED)
def test_gated(name: str, count: int) -> None:
    kernel, oracle = _GATED[name]
    gate, up = values(count, 1), values(count, 2)
    found = kernel(gate, up)
    expected = oracle(gate.astype(np.float64)) * up
    # 1 + tanh cancels for negative gates: the error is relative to gate, not to the result.
    assert (np.abs(found - expected) <= 1e-6 * np.abs(expected) + 3e-7 * np.abs(gate * up)).all()


@pytest.mark.parametrize("name", _GATED)
def test_gated_extremes(name: str) -> None:
    """Far from zero it is the identity or 0, without an infinity or a NaN on the way."""
    kernel, oracle = _GATED[name]
    found = kernel(_EXTREMES, np.ones_like(_EXTREMES))
    with np.errstate(over="ignore"):
        expected = oracle(_EXTREMES.astype(np.float64))
    assert np.isfinite(found).all()
    assert (np.abs(found - expected) <= 1e-6 * np.abs(expected) + 1e-6).all()


@pytest.mark.parametrize("name", _GATED)
def test_gated_keeps_what_is_not_a_number(name: str) -> None:
    kernel, _ = _GATED[name]
    gate = np.array([np.nan, 1.0, np.inf, 1.0], np.float32)
    up = np.array([1.0, np.nan, 1.0, 2.0], np.float32)
    found = kernel(gate, up)
    assert np.isnan(found[:2]).all()
    assert found[2] == np.inf
    assert np.isfinite(found[3])


@pytest.mark.parametrize("count", _COUNTS)
@pytest.mark.parametrize("limit", [0.5, 30.0, 50.0])
def test_soft_cap(limit: float, count: int) -> None:
    x = values(count) * 10
    found = _core.kernels.soft_cap(x, limit)
    expected = limit * np.tanh(x.astype(np.float64) / limit)
    assert np.abs(found - expected).max() <= 4e-7 * limit


def test_soft_cap_extremes() -> None:
    found = _core.kernels.soft_cap(_EXTREMES, 30.0)
    expected = 30.0 * np.tanh(_EXTREMES.astype(np.float64) / 30.0)
    assert np.abs(found - expected).max() <= 1e-5
    ends = np.array([np.inf, -np.inf, np.nan], np.float32)
    found = _core.kernels.soft_cap(ends, 30.0)
    assert found[:2].tolist() == [30.0, -30.0]
    assert np.isnan(found[2])


@pytest.mark.parametrize("count", _COUNTS)
def test_sums_and_products_are_exact(count: int) -> None:
    a, b = values(count, 1), values(count, 2)
    np.testing.assert_array_equal(_core.kernels.add(a, b), a + b)
    np.testing.assert_array_equal(_core.kernels.scale(a, 0.3), a * np.float32(0.3))
    found = _core.kernels.scaled_add(a, 0.3, b)
    exact = b + np.float64(np.float32(0.3)) * a
    assert (np.abs(found - exact) <= 2.0**-23 * (np.abs(a) + np.abs(b))).all()


@pytest.mark.parametrize("count", _COUNTS)
def test_rms_norm(count: int) -> None:
    x, weight = values(count, 1), values(count, 2)
    found = _core.kernels.rms_norm(x, weight, 1e-5)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean() + 1e-5) * weight
    assert (np.abs(found - expected) <= 1e-6 * np.abs(expected) + 1e-30).all()


def test_rms_norm_extremes() -> None:
    ones = np.ones(40, np.float32)
    assert (_core.kernels.rms_norm(0 * ones, ones, 1e-6) == 0.0).all()
    tiny = _core.kernels.rms_norm(1e-20 * ones, ones, 1e-6)  # its squares underflow
    np.testing.assert_allclose(tiny, 1e-17, rtol=1e-6)
    large = _core.kernels.rms_norm(1e18 * ones, ones, 1e-6)
    np.testing.assert_allclose(large, 1.0, rtol=1e-6)
    broken = ones.copy()
    broken[39] = np.nan
    assert np.isnan(_core.kernels.rms_norm(broken, ones, 1e-6)).all()


@pytest.mark.parametrize("count", _COUNTS)
def test_layer_norm(count: int) -> None:
    x, weight, bias = values(count, 1) + 3, values(count, 2), values(count, 3)
    found = _core.kernels.layer_norm(x, weight, bias, 1e-5)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5) * weight + bias
    # A large mean costs the bits that it takes.
    assert (np.abs(found - expected) <= 4e-6 * (np.abs(weight) + np.abs(bias))).all()
    constant = _core.kernels.layer_norm(np.full(count, 2.5, np.float32), weight, bias, 1e-12)
    np.testing.assert_array_equal(constant, bias)


@pytest.mark.parametrize("count", _COUNTS)
def test_gelu(count: int) -> None:
    x = values(count)
    expected = [v * 0.5 * (1.0 + math.erf(v / math.sqrt(2.0))) for v in x.astype(np.float64)]
    # The approximation's error is relative to x, not to the result.
    assert (np.abs(_core.kernels.gelu(x) - expected) <= 2e-7 * np.abs(x) + 1e-7).all()


def test_gelu_extremes() -> None:
    found = _core.kernels.gelu(_EXTREMES)
    expected = [v * 0.5 * (1.0 + math.erf(v / math.sqrt(2.0))) for v in _EXTREMES.tolist()]
    assert (np.abs(found - expected) <= 3e-7 * np.abs(expected) + 1e-6).all()
    ends = _core.kernels.gelu(np.array([np.inf, -np.inf, np.nan], np.float32))
    assert ends[0] == np.inf
    assert ends[1] == 0.0
    assert np.isnan(ends[2])


@pytest.mark.parametrize("pairs", [1, 8, 12, 16, 32, 60])
def test_rotate_half(pairs: int) -> None:
    """What lies beyond the rotated pairs is left alone."""
    x = values(2 * pairs + 5)
    angles = np.random.default_rng(3).uniform(-4, 4, pairs)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    found = _core.kernels.rotate_half(x, cos, sin)
    first, second = x[:pairs].astype(np.float64), x[pairs : 2 * pairs].astype(np.float64)
    expected = np.concatenate([first * cos - second * sin, second * cos + first * sin])
    assert np.abs(found[: 2 * pairs] - expected).max() <= 4e-7 * np.abs(x).max() * 2
    np.testing.assert_array_equal(found[2 * pairs :], x[2 * pairs :])


@pytest.mark.parametrize("name", ["silu", "gelu", "exact_gelu", "soft_cap"])
def test_a_value_has_the_same_bits_wherever_it_stands(name: str) -> None:
    """In a full vector and in the tail of an odd length."""
    kernels: dict[str, Callable[[Float32Array], Float32Array]] = {
        "silu": lambda x: _core.kernels.silu_mul(x, x),
        "gelu": lambda x: _core.kernels.gelu_mul(x, x),
        "exact_gelu": _core.kernels.gelu,
        "soft_cap": lambda x: _core.kernels.soft_cap(x, 30.0),
    }
    x = values(64)
    together = kernels[name](x)
    for start in range(0, 20):
        for count in (1, 3, 9, 16, 21):
            found = kernels[name](x[start : start + count].copy())
            np.testing.assert_array_equal(found, together[start : start + count])


def test_operands_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        _core.kernels.add(np.zeros(3, np.float32), np.zeros(4, np.float32))
