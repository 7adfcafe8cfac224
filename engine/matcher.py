"""What constrains a sequence's tokens, as the engine sees it: token ids and bit masks, no text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class MaskRows(Protocol):
    """Rows of V bits, packed into 32-bit words: bit i of a row stands for token i. All begin as 0,
    and a token whose bit is 0 cannot be sampled."""

    @property
    def address(self) -> int: ...  # of the first row

    @property
    def row_bytes(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def data(self) -> memoryview: ...  # (rows * row_bytes,), writable


class TokenMatcher(Protocol):
    """One sequence's place in its grammar. One thread at a time uses it."""

    @property
    def unconstrained(self) -> bool:
        """Any token may come next, so no mask is needed."""

    @property
    def accepting(self) -> bool:
        """What was accepted so far is complete: an end-of-sequence token may come next."""

    @property
    def finished(self) -> bool:
        """It is complete, and nothing but an end-of-sequence token could follow."""

    @property
    def error(self) -> str:
        """Why it cannot go on; empty while it can."""

    def accept(self, token_id: int) -> None:
        """The sequence has got this token. One that its mask excludes leads to an `error`."""

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, from the first on, could follow. Changes nothing."""


class TokenGrammar(Protocol):
    """A compiled grammar, shared by any number of sequences."""

    def matcher(self) -> TokenMatcher:
        """A new one, at the beginning."""


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """Masks of one sequence: `row` for its next token, the rows after it for the token after each
    draft, as if the drafts up to it were accepted. Rows after a draft that the grammar excludes are
    never looked at."""

    matcher: TokenMatcher
    row: int
    drafts: Sequence[int] = ()


class MaskFiller(Protocol):
    """Computes masks, releasing the GIL for the most part. Changes no matcher."""

    def fill(self, requests: Sequence[MaskRequest], masks: MaskRows) -> None: ...
