"""Keeps token log-probabilities in step with the text that is sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ftllm.engine.request import TokenLogprobs
from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class PlacedLogprob:
    """A token, the offset in characters at which its text begins, and its log-probability (None
    for a prompt's first token, which nothing precedes)."""

    token_id: int
    offset: int
    logprob: float | None
    top: tuple[tuple[int, float], ...]


class LogprobAligner:
    """Holds tokens back until the text at their offset is released.

    Text waits for whole characters and for stop strings to be ruled out; a token's entry goes out
    with the text in which it begins, and not at all when a stop string cuts that text off.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        prompt_ids: Sequence[int],
        start: int,
        skip_special_tokens: bool = True,
        hidden_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            skip_special_tokens=skip_special_tokens,
            hidden_ids=hidden_ids,
            prompt_ids=prompt_ids,
        )
        self._length = start  # characters completed so far
        self._held: deque[PlacedLogprob] = deque()

    def add(self, entry: TokenLogprobs) -> None:
        """The next generated token."""
        self._held.append(PlacedLogprob(entry.token_id, self._length, entry.logprob, entry.top))
        self._length += len(self._detokenizer.feed((entry.token_id,)))

    def release(self, sent: int) -> list[PlacedLogprob]:
        """Entries of tokens that begin before offset `sent`."""
        released = []
        while self._held and self._held[0].offset < sent:
            released.append(self._held.popleft())
        return released

    def release_all(self) -> list[PlacedLogprob]:
        """The rest: at an end that cuts nothing off, tokens without text go out too."""
        released = list(self._held)
        self._held.clear()
        return released
