"""How long the last steps took, kept until somebody takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MAX_ENTRIES = 8192  # steps that nobody has asked for; older ones are forgotten


class StepTime(NamedTuple):
    seconds: float  # to schedule, compute and commit it
    tokens: int  # token rows that it computed


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What happened since the last take."""

    steps: Sequence[StepTime]
    mask_seconds: Sequence[float]  # to fill the masks of one step's grammars


class StepLog:
    """Any thread may add, one thread takes. To add is one append, without a lock."""

    def __init__(self) -> None:
        self._steps: deque[StepTime] = deque(maxlen=MAX_ENTRIES)
        self._mask_seconds: deque[float] = deque(maxlen=MAX_ENTRIES)

    def add_step(self, seconds: float, tokens: int) -> None:
        self._steps.append(StepTime(seconds, tokens))

    def add_masks(self, seconds: float) -> None:
        self._mask_seconds.append(seconds)

    def take(self) -> StepTimes:
        steps = [self._steps.popleft() for _ in range(len(self._steps))]
        masks = [self._mask_seconds.popleft() for _ in range(len(self._mask_seconds))]
        return StepTimes(steps, masks)
