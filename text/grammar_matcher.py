"""Where one answer stands in its grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from llguidance import LLMatcher

from ftllm.text.grammar_trigger import Trigger
from ftllm.text.grammar_vocabulary import GrammarVocabulary

_LIMITS = ("LexerTooComplex", "ParserTooComplex")  # llguidance's reasons to stop


class Phase(Enum):
    OPENING = "opening"  # the answer's first tokens: its grammar, or the marker of thinking
    THINKING = "thinking"  # free, until the marker that ends it
    FREE = "free"  # free, until a trigger
    BOUND = "bound"  # llguidance decides


@dataclass(frozen=True, slots=True)
class Parts:
    """What a compiled grammar consists of; shared by its matchers."""

    vocabulary: GrammarVocabulary
    thinking_end: Trigger | None
    thinking_start: tuple[int, ...]  # empty: the prompt has opened it, or there is none
    thinking_limit: int | None
    answer: LLMatcher | None  # at its beginning; None: free text
    branches: Mapping[Trigger, LLMatcher]  # what follows each trigger
    repeats: bool
    on_limit: Callable[[], None]  # called when a limit of llguidance stops one of the matchers


class GrammarMatcher:
    """One thread at a time uses it."""

    __slots__ = ("_bound", "_ended", "_error", "_parts", "_phase", "_progress", "_states")

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bound: LLMatcher | None = None
        self._error = ""
        self._ended = False  # an end-of-sequence token came where text was free
        self._progress = 0  # tokens of thinking; in OPENING, tokens of its marker
        self._states: list[int] = []  # of the triggers that are looked for
        if parts.thinking_end is None:
            self._enter_answer(b"")
        elif parts.thinking_start:
            self._enter_answer(b"")
            self._phase = Phase.OPENING
        else:
            self._phase = Phase.THINKING
            self._states = [0]

    @property
    def unconstrained(self) -> bool:
        """Any token may come next."""
        free = self._phase is Phase.FREE or (
            self._phase is Phase.OPENING and self._progress == 0 and self._bound is None
        )
        return free and not self._excluded()

    @property
    def accepting(self) -> bool:
        """What was accepted so far is complete."""
        match self._phase:
            case Phase.BOUND:
                assert self._bound is not None
                return self._bound.is_accepting()
            case Phase.OPENING:
                answer = self._parts.answer
                return self._progress == 0 and (answer is None or answer.is_accepting())
            case _:
                return self._phase is Phase.FREE

    @property
    def finished(self) -> bool:
        """It is complete, and nothing but an end-of-sequence token could follow."""
        if self._ended:
            return True
        if self._phase is not Phase.BOUND:
            return False
        assert self._bound is not None
        return self._bound.is_stopped() and not self.error  # an error stops it too

    @property
    def error(self) -> str:
        """Why it cannot go on; empty while it can."""
        if not self._error and self._bound is not None and self._bound.is_error():
            self._fail(self._bound)
        return self._error

    @property
    def bound(self) -> LLMatcher | None:
        """The matcher that alone decides about the next tokens, whatever they are; None where the
        phase may change between them."""
        if self._phase is Phase.BOUND and not self._parts.branches:
            return self._bound
        return None

    def copy(self) -> GrammarMatcher:
        other = object.__new__(GrammarMatcher)
        other._parts, other._phase = self._parts, self._phase
        other._error, other._ended = self._error, self._ended
        other._progress, other._states = self._progress, list(self._states)
        other._bound = None if self._bound is None else self._bound.deep_copy()
        return other

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, from the first on, could follow. Changes nothing."""
        if (bound := self.bound) is not None:
            return bound.validate_tokens(list(token_ids))
        probe = self.copy()
        for count, token_id in enumerate(token_ids):
            if probe.finished or not probe._allows(token_id):
                return count
            probe.accept(token_id)
            if probe.error:
                return count
        return len(token_ids)

    def accept(self, token_id: int) -> None:
        """The answer has got this token."""
        match self._phase:
            case Phase.BOUND:
                self._accept_bound(token_id)
            case Phase.OPENING:
                self._accept_opening(token_id)
            case Phase.THINKING:
                self._progress += 1
                self._accept_thinking(self._bytes(token_id))
            case Phase.FREE:
                if token_id in self._parts.vocabulary.eos_token_ids:
                    self._ended = True
                else:
                    self._accept_free(self._bytes(token_id))

    def fill(self, row: memoryview) -> LLMatcher | None:
        """Write the next token's mask. Where llguidance computes it, its matcher is returned, which
        has to overwrite the row; `add_own` must follow then."""
        vocabulary = self._parts.vocabulary
        match self._phase:
            case Phase.BOUND:
                return self._bound
            case Phase.OPENING:
                if self._progress:
                    row[:] = vocabulary.mask_of([self._parts.thinking_start[self._progress]])
                    return None
                if self._bound is None:
                    row[:] = vocabulary.everything
                    _exclude(row, self._excluded())
                return self._bound
            case Phase.THINKING:
                row[:] = self._thinking_mask()
            case Phase.FREE:
                row[:] = vocabulary.everything
                _exclude(row, self._excluded())
        return None

    def add_own(self, row: memoryview) -> None:
        """Allow what is allowed beside llguidance's tokens."""
        if self._phase is Phase.OPENING and self._progress == 0:
            first = self._parts.thinking_start[0]
            row[first >> 3] |= 1 << (first & 7)

    def _allows(self, token_id: int) -> bool:
        """Whether the mask would hold this token; outside of llguidance's rows exactly, of which it
        knows by trying."""
        bound = self._bound
        if self._phase is Phase.OPENING and self._progress == 0:
            if token_id == self._parts.thinking_start[0]:
                return True
            return bound is None or bound.validate_tokens([token_id]) == 1
        if self._phase is Phase.BOUND:
            assert bound is not None
            return bound.validate_tokens([token_id]) == 1
        row = bytearray(self._parts.vocabulary.row_bytes)
        self.fill(memoryview(row))
        return bool(row[token_id >> 3] >> (token_id & 7) & 1)

    def _thinking_mask(self) -> bytes:
        parts = self._parts
        assert parts.thinking_end is not None
        if parts.thinking_limit is not None and self._progress >= parts.thinking_limit:
            place = self._progress - parts.thinking_limit
            return parts.vocabulary.mask_of([parts.thinking_end.ids[place]])
        if excluded := self._excluded():
            row = bytearray(parts.vocabulary.all_but_eos)
            _exclude(memoryview(row), excluded)
            return bytes(row)
        return parts.vocabulary.all_but_eos

    def _excluded(self) -> tuple[int, ...]:
        """Tokens that would run from a marker into what must not follow it."""
        found: tuple[int, ...] = ()
        for trigger, state in zip(self._triggers(), self._states, strict=True):
            found += trigger.excluded(state)
        return found

    def _triggers(self) -> Sequence[Trigger]:
        if self._phase is Phase.THINKING:
            assert self._parts.thinking_end is not None
            return (self._parts.thinking_end,)
        return tuple(self._parts.branches)

    def _bytes(self, token_id: int) -> bytes:
        return self._parts.vocabulary.token_bytes[token_id]

    def _accept_opening(self, token_id: int) -> None:
        start = self._parts.thinking_start
        if token_id != start[self._progress]:
            self._phase = Phase.FREE if self._bound is None else Phase.BOUND
            self.accept(token_id)
            return
        self._progress += 1
        if self._progress == len(start):
            self._phase = Phase.THINKING
            self._progress = 0
            self._bound = None
            self._states = [0]

    def _accept_thinking(self, data: bytes) -> None:
        end = self._parts.thinking_end
        assert end is not None
        self._states[0], rest = end.advance(self._states[0], data)
        if rest is not None:
            self._enter_answer(rest)

    def _enter_answer(self, data: bytes) -> None:
        """The answer begins with `data`, the rest of a token."""
        if self._parts.answer is not None:
            self._bind(self._parts.answer, data)
            return
        self._phase = Phase.FREE
        self._states = [0] * len(self._parts.branches)
        self._accept_free(data)

    def _accept_free(self, data: bytes) -> None:
        """The trigger that completes first counts: the one that leaves most of `data`."""
        best: tuple[int, LLMatcher, bytes] | None = None
        for place, (trigger, branch) in enumerate(self._parts.branches.items()):
            self._states[place], rest = trigger.advance(self._states[place], data)
            if rest is not None and (best is None or len(rest) > best[0]):
                best = len(rest), branch, rest
        if best is not None:
            self._bind(best[1], best[2])

    def _bind(self, prototype: LLMatcher, data: bytes) -> None:
        self._phase = Phase.BOUND
        self._bound = prototype.deep_copy()
        if data:
            tokens = self._parts.vocabulary.guidance.tokenize_bytes(data)
            self._consume(tokens)

    def _accept_bound(self, token_id: int) -> None:
        self._consume([token_id])
        assert self._bound is not None
        if self._parts.branches and self._parts.repeats and not self._error:
            if token_id in self._parts.vocabulary.eos_token_ids:
                self._ended = True
            elif self._bound.is_stopped():
                self._enter_answer(b"")

    def _consume(self, tokens: list[int]) -> None:
        assert self._bound is not None
        if not self._bound.consume_tokens(tokens):
            self._fail(self._bound)

    def _fail(self, bound: LLMatcher) -> None:
        self._error = bound.get_error() or "it allows none of the tokens"
        if bound.stop_reason() in _LIMITS:
            self._parts.on_limit()


def _exclude(row: memoryview, token_ids: Sequence[int]) -> None:
    for token_id in token_ids:
        row[token_id >> 3] &= ~(1 << (token_id & 7)) & 0xFF
