"""Writes what /proc and /sys say of a machine under a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def v1(controllers: str, top: str = "/") -> str:
    """The line of a version 1 hierarchy in mountinfo."""
    return f"31 23 0:28 {top} /sys/fs/cgroup/{controllers} rw - cgroup cgroup rw,{controllers}"


def write_groups(root: Path, *, cgroup: str, mounts: Sequence[str]) -> None:
    """The process's groups, and where their hierarchies lie."""
    process = root / "proc/self"
    process.mkdir(parents=True, exist_ok=True)
    (process / "cgroup").write_text(cgroup + "\n")
    other = "23 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw"
    (process / "mountinfo").write_text("\n".join([other, *mounts]) + "\n")


def write_limits(group: Path, files: Mapping[str, object]) -> None:
    """A group's files."""
    group.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (group / name).write_text(f"{value}\n")


def write_node(root: Path, node: int, cpus: str, distance: str | None = None) -> None:
    """A NUMA node."""
    folder = root / f"sys/devices/system/node/node{node}"
    folder.mkdir(parents=True)
    (folder / "cpulist").write_text(cpus + "\n")
    if distance is not None:
        (folder / "distance").write_text(distance + "\n")


def write_cores(root: Path, processors: int, cores: int) -> None:
    """cpu n lies on core n modulo `cores`."""
    for cpu in range(processors):
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text(f"{cpu % cores}\n")
