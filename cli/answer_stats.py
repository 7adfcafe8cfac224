"""Token counts and speeds of answers, for people to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftllm.outputs import RequestOutput, TextDelta

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """What one answer took."""

    prompt_tokens: int | None  # None = interrupted before the engine told
    cached_tokens: int | None
    output_tokens: int
    first_token_seconds: float | None  # from the request to its first token; None = no token
    decode_seconds: float  # from the first token to the last
    decode_tokens: int  # tokens that arrived after the first delta, during decode_seconds
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        """Decode speed, the prompt left out; None when there is nothing to measure."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds > 0 else None

    def line(self) -> str:
        parts = [f"{self.output_tokens} tokens"]
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:.1f} tok/s")
        if self.first_token_seconds is not None:
            parts.append(f"first token after {self.first_token_seconds:.2f} s")
        if self.prompt_tokens is not None:
            parts.append(f"prompt {self.prompt_tokens} tokens ({self.cached_tokens} cached)")
        if self.drafted_tokens:
            parts.append(f"{self.accepted_tokens} of {self.drafted_tokens} drafts accepted")
        return ", ".join(parts)


class AnswerMeter:
    """Measures one answer. Made when the request is sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock()
        self._first: float | None = None
        self._last = self._start
        self._tokens = 0
        self._first_tokens = 0  # those of the first delta
        self._result: RequestOutput | None = None

    def count(self, delta: TextDelta) -> None:
        if delta.token_ids:
            self._last = self._clock()
            self._tokens += len(delta.token_ids)
            if self._first is None:
                self._first = self._last
                self._first_tokens = self._tokens
        if delta.result is not None:
            self._result = delta.result

    def stats(self) -> AnswerStats:
        result = self._result
        return AnswerStats(
            prompt_tokens=None if result is None else result.prompt_tokens,
            cached_tokens=None if result is None else result.cached_tokens,
            output_tokens=self._tokens,
            first_token_seconds=None if self._first is None else self._first - self._start,
            decode_seconds=0.0 if self._first is None else self._last - self._first,
            decode_tokens=self._tokens - self._first_tokens,
            drafted_tokens=0 if result is None else result.drafted_tokens,
            accepted_tokens=0 if result is None else result.accepted_tokens,
        )
