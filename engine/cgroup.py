"""The limits of this process's control groups, of either version, its own and those around it.

https://docs.kernel.org/admin-guide/cgroup-v2.html,
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")
_UNLIMITED = 1 << 60  # version 1 says "no limit" with a number near 2^63


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Processors' worth of time that the tightest group allows; None: no limit.

    `root`: where /proc and /sys lie.
    """
    quotas = [_quota(*_words(folder / "cpu.max")) for folder in _groups(root, "")]
    for folder in _groups(root, "cpu"):
        quotas.append(
            _quota(*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us"))
        )
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_left(root: Path = _ROOT) -> int | None:
    """Bytes until the tightest group is at its limit; None: no limit.

    File pages that were not used lately count as free: the system drops them first.
    """
    left = []
    for folder in _groups(root, ""):
        used = _number(folder / "memory.current")
        for limit in (_number(folder / "memory.max"), _number(folder / "memory.high")):
            left.append(_left(limit, used, _inactive_file(folder, "inactive_file")))
    for folder in _groups(root, "memory"):
        limit = _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.usage_in_bytes")
        left.append(_left(limit, used, _inactive_file(folder, "total_inactive_file")))
    return min((each for each in left if each is not None), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's group and of all around it, in the hierarchy that has
    `controller`; "": in that of version 2."""
    inside = _group_path(root, controller)
    mount = _mount(root, controller)
    if inside is None or mount is None:
        return
    top, point = mount
    # In a container the hierarchy's root may be hidden: then the mount is the group itself.
    parts = inside.relative_to(top).parts if inside.is_relative_to(top) else ()
    folder = root / point.relative_to("/")
    yield folder
    for part in parts:
        folder /= part
        yield folder


def _group_path(root: Path, controller: str) -> PurePosixPath | None:
    """Lines are ID:CONTROLLERS:PATH, with no controllers for version 2."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return PurePosixPath(path)
    return None


def _mount(root: Path, controller: str) -> tuple[PurePosixPath, PurePosixPath] | None:
    """(which group is mounted, where); proc_pid_mountinfo(5) has the fields."""
    for line in _lines(root / "proc/self/mountinfo"):
        fields, _, filesystem = line.partition(" - ")
        kind, _, options = filesystem.split(" ", 2)
        wanted = kind == "cgroup" and controller in options.split(",")
        if wanted if controller else kind == "cgroup2":
            _, _, _, top, point, *_ = fields.split(" ")
            return PurePosixPath(top), PurePosixPath(point)
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _quota(*words: str) -> float | None:
    """Of "QUOTA PERIOD"; a quota of "max" or -1 is none."""
    if len(words) != 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        return None
    return int(words[0]) / int(words[1])


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if len(words) == 1 and words[0].isdigit() else None


def _inactive_file(folder: Path, name: str) -> int:
    for line in _lines(folder / "memory.stat"):
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _left(limit: int | None, used: int | None, droppable: int) -> int | None:
    if limit is None or used is None or limit >= _UNLIMITED:
        return None
    return max(0, limit - max(0, used - droppable))
