"""How this package reports long work; the caller decides whether and where it is shown."""

from __future__ import annotations

from typing import Protocol


class ProgressTask(Protocol):
    """One running piece of work; leaving the context ends it."""

    def advance(self, n: int) -> None:
        """`n` more units are done."""

    def __enter__(self) -> ProgressTask: ...

    def __exit__(self, *details: object) -> None: ...


class Progress(Protocol):
    """Creates tasks."""

    def task(self, label: str, total: int, unit: str) -> ProgressTask:
        """Start a task of `total` units ("B" for bytes); total 0 means that it is not known."""
