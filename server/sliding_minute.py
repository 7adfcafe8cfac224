"""How much was used in the last minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MINUTE: Final = 60.0  # seconds
GRAIN: Final = 1.0  # seconds; uses that lie so near are counted as one


@dataclass(slots=True)
class _Span:
    first_at: float
    last_at: float  # it counts until a minute after that, so that never too little is counted
    amount: int


class SlidingMinute:
    """Adds up what was used in the 60 seconds before `now`, in at most 61 spans. Times are
    `time.monotonic()` seconds and never go back."""

    def __init__(self) -> None:
        self._spans: deque[_Span] = deque()
        self._total = 0

    def add(self, amount: int, now: float) -> None:
        if not amount:
            return
        self._total += amount
        if self._spans and now - self._spans[-1].first_at < GRAIN:
            self._spans[-1].last_at = now
            self._spans[-1].amount += amount
        else:
            self._spans.append(_Span(now, now, amount))

    def total(self, now: float) -> int:
        spans = self._spans
        while spans and now - spans[0].last_at >= MINUTE:
            self._total -= spans.popleft().amount
        return self._total

    def seconds_until(self, amount: int, now: float) -> float:
        """Until no more than `amount` (0 or more) is counted, if nothing is added."""
        left = self.total(now)
        wait = 0.0
        for span in self._spans:
            if left <= amount:
                break
            left -= span.amount
            wait = span.last_at + MINUTE - now
        return wait
