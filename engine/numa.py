"""Where compute threads run: in groups, one on each NUMA node, or wherever the system likes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftllm.engine.machine import allowed_cpus, by_cores, thread_cpus
from ftllm.errors import OptionError

DEVICES = ("cpu", "numa")

_ROOT = Path("/")
_NODES = "sys/devices/system/node"


@dataclass(frozen=True, slots=True)
class ThreadPlaces:
    """For `_core.ThreadPool`: the processors of each thread and its group; empty where there is
    nothing to say."""

    cpus: tuple[tuple[int, ...], ...]
    groups: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()  # for the user


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node with memory for this process, and the processors whose nearest one it is."""

    id: int
    cpus: tuple[int, ...]  # that this process may use


def thread_places(threads: int, *, pin: str, device: str, root: Path = _ROOT) -> ThreadPlaces:
    """`device` "numa": threads in groups, each on the processors of one node, as many as it has
    cores. "cpu", or a machine of one node: no groups. `pin` as in `thread_cpus`.

    `root`: where /proc and /sys lie. Raises `OptionError` for what is not supported.
    """
    if device not in DEVICES:
        raise OptionError(f"device is {device!r}; supported are {', '.join(DEVICES)}")
    pinned = thread_cpus(threads, pin, root)
    anywhere = ThreadPlaces(tuple((cpu,) for cpu in pinned))
    if device == "cpu":
        return anywhere
    nodes = numa_nodes(allowed_cpus(), root)
    if len(nodes) < 2 or threads < 2:
        what = "one thread" if threads < 2 else "one NUMA node with processors and memory"
        note = f"numa     {what}: --device numa changes nothing"
        return ThreadPlaces(anywhere.cpus, notes=(note,))
    cpus: list[tuple[int, ...]] = []
    groups: list[int] = []
    names = []
    for group, (node, count) in enumerate(_shares(nodes, threads, root)):
        ranked = [cpu for core in by_cores(node.cpus, root) for cpu in core]
        own = bool(pinned) and count <= len(ranked)
        cpus += [(ranked[t],) if own else node.cpus for t in range(count)]
        groups += [group] * count
        names.append(f"node {node.id} with {count}")
    return ThreadPlaces(tuple(cpus), tuple(groups), (f"numa     {', '.join(names)} threads",))


def numa_nodes(cpus: Sequence[int], root: Path = _ROOT) -> tuple[Node, ...]:
    """The nodes that this process has both processors (of `cpus`) and memory on. Processors of a
    node without memory belong to the nearest with memory."""
    folders = {
        int(path.name.removeprefix("node")): path
        for path in (root / _NODES).glob("node*")
        if path.name.removeprefix("node").isdigit()
    }
    usable = _with_memory(sorted(folders), root)
    members: dict[int, list[int]] = {node: [] for node in usable}
    for node, path in sorted(folders.items()):
        mine = _parse(_read(path / "cpulist")) & set(cpus)
        if mine and usable:
            members[_nearest(node, usable, sorted(folders), path)] += mine
    return tuple(Node(node, tuple(sorted(mine))) for node, mine in members.items() if mine)


def _with_memory(nodes: Sequence[int], root: Path) -> list[int]:
    """Those with memory that the process's cpuset allows."""
    usable = set(nodes)
    for text in (_read(root / _NODES / "has_memory"), _mems_allowed(root)):
        if text.strip():
            usable &= _parse(text)
    return sorted(usable)


def _mems_allowed(root: Path) -> str:
    status = _read(root / "proc/self/status")
    match = re.search(r"^Mems_allowed_list:[ \t]*(\S*)$", status, re.MULTILINE)
    return "" if match is None else match.group(1)


def _nearest(node: int, usable: Sequence[int], nodes: Sequence[int], path: Path) -> int:
    """Of `usable`, the one nearest to `node`; itself if it is one. Its folder is `path`."""
    if node in usable:
        return node
    distances = dict(zip(nodes, map(int, _read(path / "distance").split()), strict=False))
    return min(usable, key=lambda other: (distances.get(other, 0), other))


def _shares(nodes: Sequence[Node], threads: int, root: Path) -> list[tuple[Node, int]]:
    """Threads for each node in proportion to its cores; nodes that would get none are left out."""
    cores = [len(by_cores(node.cpus, root)[0]) for node in nodes]
    if threads < len(nodes):
        largest = sorted(range(len(nodes)), key=lambda i: (-cores[i], i))[:threads]
        return [(nodes[i], 1) for i in sorted(largest)]
    counts = [1] * len(nodes)
    for _ in range(threads - len(nodes)):  # the next one to the node with the most cores a thread
        counts[max(range(len(nodes)), key=lambda i: (cores[i] / counts[i], -i))] += 1
    return list(zip(nodes, counts, strict=True))


def _parse(text: str) -> set[int]:
    """Numbers of a list such as "0-3,8"."""
    numbers: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
