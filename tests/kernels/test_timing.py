"""The clocks that benchmarks use: they run, they agree with each other, and they check shapes."""

from __future__ import annotations

import numpy as np
import pytest

from ftllm import _core
from tests.kernels.matrices import random_weight

POOL = _core.ThreadPool(threads=2)


@pytest.mark.parametrize("kind", ["float32", "int8", "int4"])
def test_the_machine_computes(kind: str) -> None:
    rate = _core.timing.arithmetic_rate(kind=kind, pool=POOL, seconds=0.01)
    assert 1e7 < rate < 1e15


def test_an_unknown_kind_and_a_long_time_are_refused() -> None:
    with pytest.raises(ValueError, match="it must be float32, int8 or int4"):
        _core.timing.arithmetic_rate(kind="int2", pool=POOL, seconds=0.01)
    for seconds in (0.0, -1.0, 61.0, float("nan")):
        with pytest.raises(ValueError, match="seconds must be in"):
            _core.timing.arithmetic_rate(kind="int8", pool=POOL, seconds=seconds)


def test_reading_and_computing_take_time() -> None:
    weights = [random_weight(name, 256, 512, seed=3) for name in ("q4_0", "bf16", "q8_0")]
    x = np.ones((4, 512), np.float32)
    assert 0 < _core.timing.read_seconds(weights=weights, pool=POOL) < 10
    assert 0 < _core.timing.linear_seconds(weights=weights, x=x, pool=POOL) < 10


def test_rows_that_do_not_fit_a_weight_are_refused() -> None:
    weights = [random_weight("f32", 16, 64, seed=3), random_weight("f32", 16, 32, seed=3)]
    for shape in ((2, 64), (2, 32), (0, 64), (64,)):
        with pytest.raises(ValueError, match=r"x must be \(M, K\)"):
            _core.timing.linear_seconds(weights=weights, x=np.ones(shape, np.float32), pool=POOL)


def test_a_loop_over_nothing_is_short() -> None:
    # What it takes on a busy machine says little; a lost wake-up would take for ever.
    assert _core.timing.barrier_seconds(pool=POOL, items=8, loops=50) < 0.1
    with pytest.raises(ValueError, match="at least 1"):
        _core.timing.barrier_seconds(pool=POOL, items=0, loops=1)
