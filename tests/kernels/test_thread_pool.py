"""The pool of compute threads: every item once, no waiting for idle workers, no CPU when idle."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from ftllm import _core
from ftllm.errors import OptionError
from tests.kernels.matrices import random_weight


def task_ids() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def cpu_seconds(tasks: set[str]) -> float:
    """That these threads have run for so far: the first number of schedstat, in nanoseconds."""
    files = (Path(f"/proc/self/task/{task}/schedstat") for task in tasks)
    return sum(int(file.read_text().split()[0]) for file in files) * 1e-9


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


@pytest.mark.parametrize("groups", [(), (0, 0, 1)])
def test_an_idle_pool_uses_no_processor(groups: tuple[int, ...]) -> None:
    before = task_ids()
    pool = _core.ThreadPool(threads=3, groups=groups)
    workers = task_ids() - before
    _core.timing.barrier_seconds(pool=pool, items=8, loops=100)
    time.sleep(0.05)  # past the time that workers spin
    begin = cpu_seconds(workers)
    assert begin > 0  # they did spin
    time.sleep(0.5)
    assert cpu_seconds(workers) - begin < 0.02
    assert len(workers) == 2


def test_a_pool_that_slept_works_again() -> None:
    pool = _core.ThreadPool(threads=2)
    for _ in range(5):
        assert _core.timing.barrier_seconds(pool=pool, items=100, loops=3) < 1
        time.sleep(0.01)


def grouped(*sizes: int) -> _core.ThreadPool:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    return _core.ThreadPool(threads=len(groups), groups=groups)


def members(sizes: tuple[int, ...], group: int) -> range:
    first = sum(sizes[:group])
    return range(first, first + sizes[group])


@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (1, 3), (1, 1, 1, 1), (2, 1, 3)])
def test_when_all_are_busy_items_run_on_their_groups_threads(sizes: tuple[int, ...]) -> None:
    pool = grouped(*sizes)
    for _ in range(20):
        # As many items as threads, none of which ends before all have begun.
        found = _core.item_threads(pool=pool, items=sizes, together=sum(sizes), help=True)
        for group, threads in enumerate(found):
            assert sorted(threads) == list(members(sizes, group))


@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (1, 3), (2, 1, 3)])
def test_without_help_a_groups_items_wait_for_its_threads(sizes: tuple[int, ...]) -> None:
    pool = grouped(*sizes)
    for items in (tuple(range(len(sizes))), (40,) * len(sizes), (0,) * (len(sizes) - 1) + (7,)):
        for _ in range(20):
            found = _core.item_threads(pool=pool, items=items, together=1, help=False)
            for group, threads in enumerate(found):
                assert len(threads) == items[group]
                assert set(threads) <= set(members(sizes, group))


def test_a_group_that_has_finished_helps_others() -> None:
    sizes = (1, 3)
    pool = grouped(*sizes)
    # All four threads have an item at once, and all items are of group 0, which has one thread.
    (threads, none) = _core.item_threads(pool=pool, items=(4, 0), together=4, help=True)
    assert sorted(threads) == [0, 1, 2, 3]
    assert none == []


def test_loops_with_and_without_help_in_turn() -> None:
    pool = grouped(2, 2)
    for turn in range(300):
        help_them = turn % 2 == 0
        found = _core.item_threads(pool=pool, items=(5, 9), together=1, help=help_them)
        assert all(thread in range(4) for threads in found for thread in threads)
        if not help_them:
            assert set(found[0]) <= {0, 1}
            assert set(found[1]) <= {2, 3}


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (3, 1), (2, 5, 1)])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
def test_every_panel_has_one_owner(sizes: tuple[int, ...], count: int) -> None:
    pool = grouped(*sizes)
    shares = [pool.share(count, group) for group in range(len(sizes))]
    assert shares[0][0] == 0
    assert shares[-1][1] == count
    for (_, end), (begin, _) in itertools.pairwise(shares):
        assert end == begin
    for (begin, end), size in zip(shares, sizes, strict=True):
        assert abs((end - begin) - count * size / sum(sizes)) < 1


@pytest.mark.parametrize("groups", [(0,), (1, 1), (0, 2), (1, 0), (0, -1), (0, 0, 0)])
def test_groups_that_are_none(groups: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="groups must name the group of each of the 2 threads"):
        _core.ThreadPool(threads=2, groups=groups)


@pytest.mark.parametrize("format", ["f32", "bf16", "int8", "int4g32"])
@pytest.mark.parametrize("rows", [1, 7, 64, 333])
def test_weights_are_the_same_whoever_packs_them(format: str, rows: int) -> None:
    data = np.random.default_rng(4).standard_normal((rows, 128)).astype(np.float32)
    packed = []
    for pool in (grouped(1), grouped(1, 1), grouped(2, 1, 3), grouped(*(1,) * 8)):
        weight = _core.Weight(format=format, rows=rows, columns=128)
        weight.fill(
            first_row=0, count=rows, source="f32", data=memoryview(data.tobytes()), pool=pool
        )
        packed.append(bytes(memoryview(weight)))
        assert weight.checksum(pool=pool) == weight.checksum(pool=grouped(1))
    assert len(set(packed)) == 1
