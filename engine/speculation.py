"""Drafts by prompt lookup: tokens that a request may come to next, guessed from its own text.

A step computes drafts as further rows of their sequence and samples at each, so several tokens can
come of one step; a wrong guess costs its row and changes nothing. Whether guessing pays is kept in
an account for each request; docs/adr/0006-prompt-lookup-speculation.md has the reasons and the
measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ftllm import _core
from ftllm.errors import OptionError

METHODS = ("off", "ngram")

MAX_STEP_DRAFTS = 15  # of all sequences together, which wait for them
_SHORTEST, _LONGEST = 2, 8  # n-grams that are looked up
_ROW_COST = 0.3  # of a further row, in steps of one row; measured, see the ADR
_ALLOWANCE = 0.01  # what drafts may lose a token, in tokens
_START_CREDIT = 0.6  # two drafts of a sequence that decodes alone
_MAX_CREDIT = 5.0  # enough for MAX_STEP_DRAFTS of it


def check_method(name: str) -> None:
    """Raise `OptionError` unless it is one of METHODS."""
    if name not in METHODS:
        raise OptionError(f"speculative is {name!r}; supported are {', '.join(METHODS)}")


def row_price(decodes: int) -> float:
    """Of a further row in a step where `decodes` sequences decode, in tokens. From 1 on no draft
    can pay: with four rows a step computes for as long as it waits for weights, and further rows
    cost what they may bring."""
    return _ROW_COST * decodes


class Drafter(Protocol):
    """One request's drafts. Only the engine's thread uses it."""

    def propose(self, most: int, price: float) -> Sequence[int]:
        """Up to `most` (at least 1) tokens that may come next; each costs `price` tokens."""

    def record(self, tokens: Sequence[int], *, drafted: int, accepted: int) -> None:
        """The step brought `tokens`; of its `drafted` drafts the first `accepted` were right."""


class NgramDrafter:
    """Looks up the last tokens in the text so far, and proposes what followed them.

    Credit is counted in tokens. Drafts are paid for in advance; an accepted one returns a token,
    and every token brings a small allowance. So drafts that fail cost a request no more than the
    allowance, what it starts with and what drafts have won.
    """

    def __init__(self, prompt_ids: Sequence[int]) -> None:
        self._index = _core.NgramIndex(shortest=_SHORTEST, longest=_LONGEST)
        self._index.append(prompt_ids)
        self._length = 1  # drafts to try next
        self._credit = _START_CREDIT

    def propose(self, most: int, price: float) -> Sequence[int]:
        count = min(most, self._length, int(self._credit / price))
        if count < 1:
            return ()
        drafts = self._index.continuation(count)
        self._credit -= price * len(drafts)
        return drafts

    def record(self, tokens: Sequence[int], *, drafted: int, accepted: int) -> None:
        self._index.append(tokens)
        self._credit = min(_MAX_CREDIT, self._credit + accepted + _ALLOWANCE * len(tokens))
        if accepted < drafted:
            self._length = max(1, accepted)
        elif drafted:
            self._length = min(MAX_STEP_DRAFTS, max(self._length, drafted + 1))


def make_drafter(method: str, prompt_ids: Sequence[int]) -> Drafter | None:
    """None when `method` is "off"."""
    return NgramDrafter(prompt_ids) if method == "ngram" else None
