"""A grammar without text: which token ids may follow is a rule about the ids before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from ftllm.engine.matcher import MaskRequest, MaskRows

Rule = Callable[[Sequence[int]], Sequence[int] | None]
"""From the tokens so far to those that may follow; None: any may."""


@dataclass
class FakeMatcher:
    """`length` tokens complete it; a token of `failing` stops it with an error."""

    rule: Rule
    length: int
    failing: frozenset[int]
    tokens: list[int] = field(default_factory=list)
    error: str = ""

    @property
    def unconstrained(self) -> bool:
        return self.rule(self.tokens) is None

    @property
    def accepting(self) -> bool:
        return self.finished

    @property
    def finished(self) -> bool:
        return len(self.tokens) >= self.length

    def accept(self, token_id: int) -> None:
        assert not self.finished
        assert self.count_allowed([token_id]), "a token that the mask excludes"
        self.tokens.append(token_id)
        if token_id in self.failing:
            self.error = f"token {token_id} is too much"

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        so_far = list(self.tokens)
        for count, token_id in enumerate(token_ids):
            allowed = self.rule(so_far)
            if len(so_far) >= self.length or (allowed is not None and token_id not in allowed):
                return count
            so_far.append(token_id)
        return len(token_ids)


@dataclass(frozen=True)
class FakeGrammar:
    rule: Rule
    length: int = 1000
    failing: frozenset[int] = frozenset()

    def matcher(self) -> FakeMatcher:
        return FakeMatcher(self.rule, self.length, self.failing)


@dataclass
class FakeFiller:
    """`go` can be cleared to make steps wait for their masks; `broken` makes them fail."""

    vocab_size: int = 50
    broken: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __post_init__(self) -> None:
        self.go.set()

    def fill(self, requests: Sequence[MaskRequest], masks: MaskRows) -> None:
        self.calls += 1
        self.go.wait()
        if self.broken:
            raise ValueError("broken")
        for request in requests:
            matcher = cast(FakeMatcher, request.matcher)
            for place in range(1 + len(request.drafts)):
                drafts = list(request.drafts[:place])
                if matcher.count_allowed(drafts) < place:
                    break
                allowed = matcher.rule([*matcher.tokens, *drafts])
                start = (request.row + place) * masks.row_bytes
                for token in range(self.vocab_size) if allowed is None else allowed:
                    masks.data[start + (token >> 3)] |= 1 << (token & 7)
