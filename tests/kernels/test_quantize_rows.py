from __future__ import annotations

import numpy as np
import pytest

from ftllm import _core
from tests.kernels.matrices import quantize


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 96, 300])
@pytest.mark.parametrize("rows", [1, 3, 8, 17])
def test_codes_and_scales_equal_the_oracle(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows * 1000 + columns)
    x = random.standard_normal((rows, columns)).astype(np.float32)
    x *= 10.0 ** random.integers(-6, 6, (rows, 1)).astype(np.float32)
    x[0, :: max(1, columns // 3)] = 0.0
    codes, scales = _core.kernels.quantize_rows(x)
    expected_codes, expected_scales = quantize(x)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(scales, expected_scales)


def test_ties_round_to_even() -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, :6] = [127.0, 0.5, 1.5, 2.5, -0.5, -1.5]
    codes, scales = _core.kernels.quantize_rows(x)
    assert codes[0, :6].tolist() == [127, 0, 2, 2, 0, -2]
    assert scales[0, 0] == 1.0


@pytest.mark.parametrize("peak", [0.0, 2.0**-149, 2.0**-130, 2.0**-120, 3e38])
def test_extreme_rows_stay_close_to_their_values(peak: float) -> None:
    """Zero, subnormal and huge blocks: no code overflows, and the value is off by half a step
    (blocks below 2^-119 are zero)."""
    x = np.linspace(-peak, peak, 32, dtype=np.float64).astype(np.float32)[None, :]
    codes, scales = _core.kernels.quantize_rows(x)
    assert np.isfinite(scales).all()
    found = codes[0].astype(np.float64) * scales[0, 0]
    assert np.abs(found - x[0].astype(np.float64)).max() <= peak / 127 * 0.51 + 2.0**-119


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(M, K\)"):
        _core.kernels.quantize_rows(np.zeros(4, np.float32))
