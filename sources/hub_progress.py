"""Progress of a download by huggingface_hub, seen from outside: its files' growth on disk.

Its own bars and their hooks differ from release to release; the bytes on disk do not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from ftllm.sources.progress import Progress

_INTERVAL = 0.2  # seconds


@contextmanager
def watch_growth(folder: Path, *, label: str, total: int, progress: Progress) -> Iterator[None]:
    """Report the bytes that appear in `folder` as a task of `total` bytes; hides the hub's bars."""
    start, done = _bytes_in(folder), 0
    finished = threading.Event()
    # A user's own word about the bars (the variable is set) cannot be and need not be overruled.
    shown = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()

    with progress.task(label, total, "B") as task:

        def watch() -> None:
            nonlocal done
            while not finished.wait(_INTERVAL):
                grown = min(_bytes_in(folder) - start, total)
                if grown > done:
                    task.advance(grown - done)
                    done = grown

        watcher = threading.Thread(target=watch, name="ftllm-download", daemon=True)
        if shown:
            disable_progress_bars()
        watcher.start()
        try:
            yield
        finally:
            finished.set()
            watcher.join()
            if shown:
                enable_progress_bars()
        task.advance(total - done)  # files that were there already count as done


def _bytes_in(folder: Path) -> int:
    """Bytes of the regular files below `folder`; links point to files that are counted already."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if not path.is_symlink() and path.is_file():
                total += path.stat().st_size
        except OSError:  # renamed or removed between listing and look
            continue
    return total
