"""What this process may use of the machine: cores and memory, cgroup limits included."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftllm.engine.cgroup import cpu_quota, memory_left
from ftllm.errors import OptionError

_ROOT = Path("/")
PIN_MODES = ("auto", "on", "off")
_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """How much there is of one kind of memory, and which kind that is."""

    bytes: int
    where: str  # "are free on this machine" …, after a number of bytes


def parse_size(text: str, option: str) -> int:
    """Bytes of a size such as "512m", "4g" or "1.5GiB" (binary units)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None or float(match.group(1)) <= 0:
        raise OptionError(f"{option} is {text!r}; give a size such as 512m, 4g or 1.5g")
    return int(float(match.group(1)) * _SUFFIXES[match.group(2)])


def default_threads(root: Path = _ROOT) -> int:
    """Physical cores that this process may run on, at most its cgroups' CPU quota.

    `root`: where /proc and /sys lie.
    """
    cores = {_core_of(cpu, root) for cpu in allowed_cpus()}
    quota = cpu_quota(root)
    return max(1, len(cores) if quota is None else min(len(cores), round(quota)))


def thread_cpus(threads: int, pin: str, root: Path = _ROOT) -> tuple[int, ...]:
    """The processor for each compute thread, a physical core each as far as they go; empty: the
    system places the threads.

    `pin` "auto": only where processors were set aside for this process, by an affinity mask
    smaller than the machine and without a CPU quota. On a whole machine two servers would take the
    same cores, and a thread could not move away from another program.

    Raises `OptionError` for an unknown `pin`, or for "on" with more threads than processors.
    """
    if pin not in PIN_MODES:
        raise OptionError(f"pin is {pin!r}; supported are {', '.join(PIN_MODES)}")
    cpus = allowed_cpus()
    set_aside = len(cpus) < (os.cpu_count() or 1) and cpu_quota(root) is None
    if pin == "off" or (pin == "auto" and (not set_aside or threads > len(cpus))):
        return ()
    if threads > len(cpus):
        raise OptionError(
            f"pin is on, but there are {threads} threads for {len(cpus)} processors; lower"
            " --threads or turn pinning off"
        )
    return tuple(cpu for core in by_cores(cpus, root) for cpu in core)[:threads]


def by_cores(cpus: Sequence[int], root: Path = _ROOT) -> list[list[int]]:
    """The first processor of every core, then the second of every core, and so on."""
    by_core: dict[tuple[str, str], list[int]] = {}
    for cpu in cpus:
        by_core.setdefault(_core_of(cpu, root), []).append(cpu)
    longest = max((len(core) for core in by_core.values()), default=0)
    return [
        sorted(core[place] for core in by_core.values() if place < len(core))
        for place in range(longest)
    ]


def free_memory(root: Path = _ROOT) -> FreeMemory:
    """What can be filled now without swapping or reaching a cgroup's limit: the tighter of both."""
    info = (root / "proc/meminfo").read_text()
    match = re.search(r"^MemAvailable:\s+(\d+) kB", info, re.MULTILINE)
    free = int(match.group(1)) * 1024 if match else 1 << 62
    left = memory_left(root)
    if left is not None and left < free:
        return FreeMemory(left, "are left under the memory limit of this process's control group")
    return FreeMemory(free, "are free on this machine")


def free_address_space() -> FreeMemory | None:
    """What can be allocated now, filled or not; None: no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = int(Path("/proc/self/statm").read_text().split()[0])  # proc_pid_statm(5): size
    left = max(0, limit - pages * resource.getpagesize())
    return FreeMemory(left, "are left to this process, whose address space is limited (ulimit -v)")


def available_memory(root: Path = _ROOT) -> int:
    """Bytes that can be allocated now without swapping or reaching a limit of this process."""
    space = free_address_space()
    free = free_memory(root).bytes
    return free if space is None else min(free, space.bytes)


def allowed_cpus() -> list[int]:
    """In ascending order: the affinity mask, which cpusets narrow too."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _core_of(cpu: int, root: Path) -> tuple[str, str]:
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return package, (topology / "core_id").read_text().strip()
    except OSError:
        return "", str(cpu)
