"""When what happened to a sequence of the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceTimes:
    """All in seconds of `time.monotonic()`."""

    submitted_at: float
    started_at: float | None  # when it first ran; None: it never did
    first_token_at: float | None  # None: it gave none
    last_token_at: float
    ended_at: float

    @property
    def queue(self) -> float:
        """Seconds, as those below."""
        return (self.ended_at if self.started_at is None else self.started_at) - self.submitted_at

    @property
    def prefill(self) -> float | None:
        if self.started_at is None:
            return None
        return (self.first_token_at or self.ended_at) - self.started_at

    @property
    def decode(self) -> float | None:
        if self.started_at is None or self.first_token_at is None:
            return None
        return self.last_token_at - self.first_token_at

    @property
    def inference(self) -> float | None:
        return None if self.started_at is None else self.ended_at - self.started_at
