"""The pool of compute threads: every item once, no waiting for idle workers, no CPU when idle."""

from __future__ import annotations

import os
import resource
import time

import numpy as np
import pytest

from ftllm import _core
from tests.kernels.matrices import random_weight


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_every_item_is_done_once(threads: int) -> None:
    weight = random_weight("f32", 333, 64, seed=1)
    x = np.random.default_rng(2).standard_normal((5, 64)).astype(np.float32)
    expected = _core.kernels.linear(weight=weight, x=x)
    for _ in range(50):  # pools that live for one loop: start and end of threads too
        found = _core.kernels.linear(weight=weight, x=x, panels_per_call=1, threads=threads)
        np.testing.assert_array_equal(found, expected)


def test_many_more_threads_than_processors_do_not_stall_a_loop() -> None:
    pool = _core.ThreadPool(threads=4 * (os.cpu_count() or 1))
    # A loop that waited for every worker would take several time slices of milliseconds each.
    best = min(_core.timing.barrier_seconds(pool=pool, items=64, loops=200) for _ in range(5))
    assert best < 2e-3


def test_an_idle_pool_uses_no_processor() -> None:
    pool = _core.ThreadPool(threads=3)
    _core.timing.barrier_seconds(pool=pool, items=8, loops=100)
    time.sleep(0.05)  # past the time that workers spin
    begin = cpu_seconds()
    time.sleep(0.5)
    assert cpu_seconds() - begin < 0.02
    assert pool.size == 3


def test_a_pool_that_slept_works_again() -> None:
    pool = _core.ThreadPool(threads=2)
    for _ in range(5):
        assert _core.timing.barrier_seconds(pool=pool, items=100, loops=3) < 1
        time.sleep(0.01)
