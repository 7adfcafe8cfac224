"""Which processors compute threads are tied to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ftllm import _core
from ftllm.engine.machine import default_threads, thread_cpus
from ftllm.errors import OptionError
from tests.engine.machine_files import V2, write_cores, write_groups, write_limits

Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Puts the process on a machine of `cores` physical cores with two processors each: cpu n and
    cpu n + cores share one. Gives the root of its /proc and /sys."""

    def put(cores: int, *, allowed: Iterable[int] | None = None, quota: str = "max 100000") -> Path:
        write_cores(tmp_path, 2 * cores, cores)
        write_groups(tmp_path, cgroup="0::/", mounts=[V2])
        write_limits(tmp_path / "sys/fs/cgroup", {"cpu.max": quota})
        mask = set(range(2 * cores) if allowed is None else allowed)
        monkeypatch.setattr(os, "cpu_count", lambda: 2 * cores)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: mask)
        return tmp_path

    return put


def test_a_whole_machine_is_shared_with_others(place: Place) -> None:
    root = place(4)
    assert default_threads(root) == 4
    assert thread_cpus(4, "auto", root) == ()
    assert thread_cpus(4, "on", root) == (0, 1, 2, 3)
    assert thread_cpus(4, "off", root) == ()


def test_processors_set_aside_are_taken_a_core_each(place: Place) -> None:
    root = place(4, allowed=(1, 2, 5, 6))  # two cores with both their processors
    assert default_threads(root) == 2
    assert thread_cpus(2, "auto", root) == (1, 2)
    assert thread_cpus(3, "auto", root) == (1, 2, 5)
    assert thread_cpus(2, "off", root) == ()


def test_a_quota_means_that_time_is_shared(place: Place) -> None:
    root = place(4, allowed=(0, 1), quota="150000 100000")
    assert default_threads(root) == 2
    assert thread_cpus(2, "auto", root) == ()
    assert thread_cpus(2, "on", root) == (0, 1)


def test_more_threads_than_processors(place: Place) -> None:
    root = place(2, allowed=(0, 1))
    assert thread_cpus(3, "auto", root) == ()
    with pytest.raises(OptionError, match="3 threads for 2 processors; lower --threads"):
        thread_cpus(3, "on", root)


def test_an_unknown_mode_lists_the_known() -> None:
    with pytest.raises(OptionError, match="pin is 'yes'; supported are auto, on, off"):
        thread_cpus(1, "yes")


def test_workers_stay_where_they_are_put_and_the_caller_stays_free() -> None:
    mine = os.sched_getaffinity(0)
    before = {int(name) for name in os.listdir("/proc/self/task")}
    cpu = max(mine)
    pool = _core.ThreadPool(threads=2, cpus=((cpu,), (cpu,)))
    _core.timing.barrier_seconds(pool=pool, items=64, loops=200)
    (worker,) = {int(name) for name in os.listdir("/proc/self/task")} - before
    deadline = threading.Event()
    for _ in range(200):
        if os.sched_getaffinity(worker) == {cpu}:
            break
        deadline.wait(0.01)
    assert os.sched_getaffinity(worker) == {cpu}
    assert os.sched_getaffinity(0) == mine
    assert pool.size == 2


@pytest.mark.parametrize("cpu", [-1, 10**6])
def test_a_processor_that_is_not_there_is_ignored(cpu: int) -> None:
    pool = _core.ThreadPool(threads=2, cpus=((cpu,), (cpu,)))
    assert _core.timing.barrier_seconds(pool=pool, items=4, loops=10) < 1


def test_the_caller_is_free_again_after_packing_for_a_node() -> None:
    mine = os.sched_getaffinity(0)
    cpu = max(mine)
    pool = _core.ThreadPool(threads=2, cpus=((cpu,), (cpu,)), groups=(0, 1))
    weight = _core.Weight(format="f32", rows=64, columns=32)
    data = memoryview(bytes(64 * 32 * 4))
    weight.fill(first_row=0, count=64, source="f32", data=data, pool=pool)
    assert os.sched_getaffinity(0) == mine
