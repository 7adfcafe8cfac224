"""What this process may use of the machine: cores and memory, cgroup limits included."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftllm.errors import OptionError

_CGROUP = Path("/sys/fs/cgroup")
_CPU = Path("/sys/devices/system/cpu")
PIN_MODES = ("auto", "on", "off")
_SUFFIXES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str, option: str) -> int:
    """Bytes of a size such as "512m", "4g" or "1.5GiB" (binary units)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None or float(match.group(1)) <= 0:
        raise OptionError(f"{option} is {text!r}; give a size such as 512m, 4g or 1.5g")
    return int(float(match.group(1)) * _SUFFIXES[match.group(2)])


def default_threads() -> int:
    """Physical cores that this process may run on, at most its cgroup's CPU quota."""
    cores = {_core_of(cpu) for cpu in _allowed_cpus()}
    quota = _cpu_quota()
    return max(1, len(cores) if quota is None else min(len(cores), round(quota)))


def thread_cpus(threads: int, pin: str) -> tuple[int, ...]:
    """The processor for each compute thread, a physical core each as far as they go; empty: the
    system places the threads.

    `pin` "auto": only where processors were set aside for this process, by an affinity mask
    smaller than the machine and without a CPU quota. On a whole machine two servers would take the
    same cores, and a thread could not move away from another program.

    Raises `OptionError` for an unknown `pin`, or for "on" with more threads than processors.
    """
    if pin not in PIN_MODES:
        raise OptionError(f"pin is {pin!r}; supported are {', '.join(PIN_MODES)}")
    cpus = _allowed_cpus()
    set_aside = len(cpus) < (os.cpu_count() or 1) and _cpu_quota() is None
    if pin == "off" or (pin == "auto" and (not set_aside or threads > len(cpus))):
        return ()
    if threads > len(cpus):
        raise OptionError(
            f"pin is on, but there are {threads} threads for {len(cpus)} processors; lower"
            " --threads or turn pinning off"
        )
    by_core: dict[tuple[str, str], list[int]] = {}
    for cpu in cpus:
        by_core.setdefault(_core_of(cpu), []).append(cpu)
    # The first processor of every core, then the second of every core, and so on.
    ranked = sorted((place, cpu) for core in by_core.values() for place, cpu in enumerate(core))
    return tuple(cpu for _, cpu in ranked[:threads])


def available_memory() -> int:
    """Bytes that can be allocated now without swapping or reaching the cgroup's limit."""
    info = Path("/proc/meminfo").read_text()
    match = re.search(r"^MemAvailable:\s+(\d+) kB", info, re.MULTILINE)
    free = int(match.group(1)) * 1024 if match else 1 << 62
    limit = _read_number(_CGROUP / "memory.max")
    used = _read_number(_CGROUP / "memory.current")
    return free if limit is None or used is None else max(0, min(free, limit - used))


def _allowed_cpus() -> list[int]:
    """In ascending order."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _core_of(cpu: int) -> tuple[str, str]:
    topology = _CPU / f"cpu{cpu}" / "topology"
    try:
        package = (topology / "physical_package_id").read_text().strip()
        return package, (topology / "core_id").read_text().strip()
    except OSError:
        return "", str(cpu)


def _cpu_quota() -> float | None:
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
