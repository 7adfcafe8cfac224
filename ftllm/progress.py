"""How long work (downloads, weight packing, batches) reports its progress."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichDisplay
    from rich.progress import TaskID


class ProgressTask(Protocol):
    """One bar. Enter it to show it, leave it when the work has ended or failed."""

    def advance(self, n: int) -> None:
        """Counts `n` more units as done. Callable from any thread."""

    def __enter__(self) -> ProgressTask: ...

    def __exit__(self, *details: object) -> None: ...


class Progress(Protocol):
    """Makes tasks. Several may be open at once."""

    def task(self, label: str, total: int, unit: str) -> ProgressTask:
        """A task of `total` units ("B" for bytes, else a plural noun); 0 = total unknown."""


class SilentProgress:
    """Shows nothing."""

    def task(self, label: str, total: int, unit: str) -> ProgressTask:
        return _SilentTask()


class _SilentTask:
    def advance(self, n: int) -> None:
        pass

    def __enter__(self) -> ProgressTask:
        return self

    def __exit__(self, *details: object) -> None:
        pass


class RichProgress:
    """Bars on stderr, one a task. `rich` is imported when the first bar is asked for."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._display: RichDisplay | None = None
        self._open = 0  # tasks shown now; the display lives while there are any

    def task(self, label: str, total: int, unit: str) -> ProgressTask:
        return _RichTask(self, label, total, unit)

    def open_bar(self, label: str, total: int, amount: str) -> tuple[RichDisplay, TaskID]:
        """Adds a bar, starting the display with the first one."""
        with self._lock:
            if self._display is None:
                self._display = self._new_display()
                self._display.start()
            self._open += 1
            bar = self._display.add_task(label, total=total or None, amount=amount)
            return self._display, bar

    def close_bar(self) -> None:
        """Stops the display with the last bar."""
        with self._lock:
            self._open -= 1
            if self._open == 0 and self._display is not None:
                self._display.stop()
                self._display = None

    def _new_display(self) -> RichDisplay:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichDisplay

        return RichDisplay(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console or Console(stderr=True),
        )


class _RichTask:
    def __init__(self, owner: RichProgress, label: str, total: int, unit: str) -> None:
        self._owner = owner
        self._label = label
        self._total = total
        self._unit = unit
        self._lock = threading.Lock()
        self._done = 0
        self._bar: tuple[RichDisplay, TaskID] | None = None

    def advance(self, n: int) -> None:
        with self._lock:
            self._done += n
            if self._bar is not None:
                display, bar = self._bar
                display.update(bar, completed=self._done, amount=self._amount())

    def __enter__(self) -> ProgressTask:
        self._bar = self._owner.open_bar(self._label, self._total, self._amount())
        return self

    def __exit__(self, *details: object) -> None:
        with self._lock:
            self._bar = None
        self._owner.close_bar()

    def _amount(self) -> str:
        if self._unit != "B":
            total = f"/{self._total}" if self._total else ""
            return f"{self._done}{total} {self._unit}"
        scale, unit = _byte_scale(self._total or self._done)
        total = f"/{self._total / scale:.1f}" if self._total else ""
        return f"{self._done / scale:.1f}{total} {unit}"


def _byte_scale(count: int) -> tuple[int, str]:
    for scale, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= scale:
            return scale, unit
    return 1, "B"
