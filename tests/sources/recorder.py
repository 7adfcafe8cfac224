"""A `Progress` that remembers its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RecordedTask:
    label: str
    total: int
    unit: str
    done: int = 0
    ended: bool = False

    def advance(self, n: int) -> None:
        self.done += n

    def __enter__(self) -> RecordedTask:
        return self

    def __exit__(self, *details: object) -> None:
        self.ended = True


@dataclass
class Recorder:
    tasks: list[RecordedTask] = field(default_factory=list)

    def task(self, label: str, total: int, unit: str) -> RecordedTask:
        self.tasks.append(RecordedTask(label, total, unit))
        return self.tasks[-1]
