"""The folder for fetched models, and the lock that keeps two processes from fetching one twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftllm.errors import ModelSourceError
from ftllm.sources.progress import Progress

CACHE_VARIABLE = "FTLLM_CACHE"


def cache_root(cache_dir: Path | None) -> Path:
    """`cache_dir`, else $FTLLM_CACHE, else ~/.cache/ftllm."""
    if cache_dir is not None:
        return cache_dir.expanduser()
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/ftllm").expanduser()


def own_cache(cache_dir: Path | None) -> Path | None:
    """`cache_root` when the user chose it; None when it is only the default."""
    chosen = cache_dir is not None or os.environ.get(CACHE_VARIABLE)
    return cache_root(cache_dir) if chosen else None


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents. Raises `ModelSourceError` naming the way out."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelSourceError(
            f"{folder}: cannot create the cache folder: {error.strerror or error}; choose another "
            f"with --cache_dir or ${CACHE_VARIABLE}"
        ) from error


@contextmanager
def exclusive(lock: Path, *, what: str, progress: Progress) -> Iterator[None]:
    """Hold the lock file `lock`; waits while another process holds it. A killed holder frees it."""
    try:
        file = lock.open("a")
    except OSError as error:
        raise ModelSourceError(
            f"{lock}: cannot write to the cache folder: {error.strerror or error}; choose another "
            f"with --cache_dir or ${CACHE_VARIABLE}"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.task(f"waiting for another process that fetches {what}", 0, "s"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file gives up the lock
