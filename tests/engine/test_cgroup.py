"""Limits of control groups: both versions, nested, hidden behind a mount, and none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm.engine.cgroup import cpu_quota, memory_left
from ftllm.engine.machine import available_memory, default_threads
from tests.engine.machine_files import V2, v1, write_groups, write_limits

_NO_LIMIT = 9223372036854771712  # what version 1 says
MIB = 1 << 20


def test_no_groups_no_limits(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert memory_left(tmp_path) is None


def test_version_2_without_limits(tmp_path: Path) -> None:
    write_groups(tmp_path, cgroup="0::/user.slice", mounts=[V2])
    group = tmp_path / "sys/fs/cgroup/user.slice"
    files = {"cpu.max": "max 100000", "memory.max": "max", "memory.high": "max"}
    write_limits(group, {**files, "memory.current": 5})
    assert cpu_quota(tmp_path) is None
    assert memory_left(tmp_path) is None


@pytest.mark.parametrize("tightest", ["pod", "pod/box", "pod/box/app"])
def test_the_tightest_of_nested_groups_counts(tmp_path: Path, tightest: str) -> None:
    write_groups(tmp_path, cgroup="0::/pod/box/app", mounts=[V2])
    for group in ("pod", "pod/box", "pod/box/app"):
        here = group == tightest
        write_limits(
            tmp_path / "sys/fs/cgroup" / group,
            {
                "cpu.max": "150000 100000" if here else "400000 100000",
                "memory.max": 300 * MIB if here else "max",
                "memory.current": 100 * MIB,
            },
        )
    assert cpu_quota(tmp_path) == 1.5
    assert memory_left(tmp_path) == 200 * MIB


def test_a_group_beside_the_process_does_not_count(tmp_path: Path) -> None:
    write_groups(tmp_path, cgroup="0::/pod/a", mounts=[V2])
    write_limits(tmp_path / "sys/fs/cgroup/pod/b", {"cpu.max": "1000 100000"})
    write_limits(tmp_path / "sys/fs/cgroup/pod/a", {"cpu.max": "200000 100000"})
    assert cpu_quota(tmp_path) == 2.0


def test_memory_high_and_file_pages(tmp_path: Path) -> None:
    write_groups(tmp_path, cgroup="0::/", mounts=[V2])
    group = tmp_path / "sys/fs/cgroup"
    write_limits(group, {"memory.max": 400 * MIB, "memory.high": 300 * MIB})
    write_limits(group, {"memory.current": 250 * MIB})
    assert memory_left(tmp_path) == 50 * MIB
    write_limits(group, {"memory.stat": f"anon 1\ninactive_file {100 * MIB}\nactive_file 9"})
    assert memory_left(tmp_path) == 150 * MIB
    write_limits(group, {"memory.high": 100 * MIB})
    assert memory_left(tmp_path) == 0


def test_version_1_nested(tmp_path: Path) -> None:
    write_groups(
        tmp_path,
        cgroup="4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n0::/x",
        mounts=[v1("memory"), v1("cpu,cpuacct")],
    )
    memory = tmp_path / "sys/fs/cgroup/memory/docker"
    write_limits(memory, {"memory.limit_in_bytes": 800 * MIB, "memory.usage_in_bytes": 700 * MIB})
    write_limits(memory, {"memory.stat": f"cache 1\ntotal_inactive_file {50 * MIB}"})
    write_limits(
        memory / "abc", {"memory.limit_in_bytes": _NO_LIMIT, "memory.usage_in_bytes": 600 * MIB}
    )
    cpu = tmp_path / "sys/fs/cgroup/cpu,cpuacct/docker/abc"
    write_limits(cpu, {"cpu.cfs_quota_us": 250000, "cpu.cfs_period_us": 100000})
    write_limits(cpu.parent, {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000})
    assert cpu_quota(tmp_path) == 2.5
    assert memory_left(tmp_path) == 150 * MIB


def test_a_container_sees_its_group_as_the_mount(tmp_path: Path) -> None:
    """/proc names the group as the host does, the mount is that group itself."""
    write_groups(
        tmp_path,
        cgroup="4:memory:/docker/abc\n1:cpu:/docker/abc",
        mounts=[v1("memory", "/docker/abc"), v1("cpu", "/docker")],
    )
    write_limits(
        tmp_path / "sys/fs/cgroup/memory",
        {"memory.limit_in_bytes": 3 * MIB, "memory.usage_in_bytes": MIB},
    )
    write_limits(
        tmp_path / "sys/fs/cgroup/cpu/abc", {"cpu.cfs_quota_us": 50000, "cpu.cfs_period_us": 100000}
    )
    assert memory_left(tmp_path) == 2 * MIB
    assert cpu_quota(tmp_path) == 0.5


def test_a_group_outside_of_what_is_mounted(tmp_path: Path) -> None:
    write_groups(tmp_path, cgroup="0::/elsewhere", mounts=[V2.replace(" / ", " /docker/abc ", 1)])
    write_limits(tmp_path / "sys/fs/cgroup", {"cpu.max": "100000 100000"})
    assert cpu_quota(tmp_path) == 1.0


def test_threads_and_memory_keep_to_the_limits(tmp_path: Path) -> None:
    write_groups(tmp_path, cgroup="0::/", mounts=[V2])
    write_limits(
        tmp_path / "sys/fs/cgroup",
        {"cpu.max": "100000 100000", "memory.max": 900 * MIB, "memory.current": 0},
    )
    (tmp_path / "proc/meminfo").write_text("MemFree: 1 kB\nMemAvailable:   1048576 kB\n")
    assert default_threads(tmp_path) == 1
    assert available_memory(tmp_path) == 900 * MIB
    write_limits(tmp_path / "sys/fs/cgroup", {"memory.max": "max"})
    assert available_memory(tmp_path) == 1024 * MIB


@pytest.mark.parametrize("text", ["", "max", "a b", "0 100000", "1 2 3", "-1 100000"])
def test_odd_files_are_no_limit(tmp_path: Path, text: str) -> None:
    write_groups(tmp_path, cgroup="0::/", mounts=[V2])
    write_limits(tmp_path / "sys/fs/cgroup", {"cpu.max": text, "memory.max": text})
    assert cpu_quota(tmp_path) is None
    assert memory_left(tmp_path) is None
