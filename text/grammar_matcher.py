"""Where one answer stands in its grammar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from llguidance import LLMatcher

from ftllm.text.grammar_trigger import Trigger
from ftllm.text.grammar_vocabulary import GrammarVocabulary

_LIMITS = ("LexerTooComplex", "ParserTooComplex")  # llguidance's reasons to stop


class Phase(Enum):
    OPENING = "opening"  # the answer begins: with what its grammar says, or with an opener
    THINKING = "thinking"  # free, until a marker that ends it
    FREE = "free"  # free, until a trigger
    BOUND = "bound"  # llguidance decides


@dataclass(frozen=True, slots=True)
class Opener:
    """A marker that an answer may begin with instead: of thinking, or of text that stays free."""

    ids: tuple[int, ...]
    thinks: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """What a compiled grammar consists of; shared by its matchers."""

    vocabulary: GrammarVocabulary
    thinking_ends: tuple[Trigger, ...]
    begins_thinking: bool  # the prompt has opened it
    thinking_limit: int | None
    openers: tuple[Opener, ...]
    answer: LLMatcher | None  # at its beginning; None: free text
    branches: Mapping[Trigger, LLMatcher]  # what follows each trigger
    repeats: bool
    on_limit: Callable[[], None]  # called when a limit of llguidance stops one of the matchers


class GrammarMatcher:
    """One thread at a time uses it."""

    __slots__ = (
        "_bound",
        "_ended",
        "_error",
        "_openers",
        "_parts",
        "_phase",
        "_progress",
        "_states",
        "_triggers",
    )

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bound: LLMatcher | None = None
        self._error = ""
        self._ended = False  # an end-of-sequence token came where text was free
        self._openers: Sequence[Opener] = ()  # that are still possible
        self._progress = 0  # tokens of thinking, or of an opener
        self._triggers: Sequence[Trigger] = ()  # that are looked for …
        self._states: list[int] = []  # … and how far each has come
        if parts.begins_thinking:
            self._enter(Phase.THINKING, parts.thinking_ends)
        else:
            self._enter_answer(b"", parts.openers)

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
        if self._phase is Phase.THINKING or (self._phase is Phase.OPENING and self._progress):
            return False
        return self._bound is None or self._bound.is_accepting()

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
        """llguidance's matcher, if it alone decides about all further tokens."""
        if self._phase is Phase.BOUND and not self._parts.branches:
            return self._bound
        return None

    def copy(self) -> GrammarMatcher:
        other = object.__new__(GrammarMatcher)
        other._parts, other._phase = self._parts, self._phase
        other._error, other._ended = self._error, self._ended
        other._openers, other._progress = self._openers, self._progress
        other._triggers, other._states = self._triggers, list(self._states)
        other._bound = None if self._bound is None else self._bound.deep_copy()
        return other

    def count_allowed(self, token_ids: Sequence[int]) -> int:
        """How many of these tokens, from the first on, could follow. Changes nothing."""
        if (bound := self.bound) is not None:
            return bound.validate_tokens(list(token_ids))
        probe = self.copy()
        for count, token_id in enumerate(token_ids):
            if probe.finished or not probe.allows(token_id):
                return count
            probe.accept(token_id)
            if probe.error:
                return count
        return len(token_ids)

    def allows(self, token_id: int) -> bool:
        """Whether the next token's mask has this one."""
        row = memoryview(bytearray(self._parts.vocabulary.row_bytes))
        bound = self.fill(row)
        if bound is not None and bound.validate_tokens([token_id]) == 1:
            return True
        self.add_own(row)
        return bool(row[token_id >> 3] >> (token_id & 7) & 1)

    def accept(self, token_id: int) -> None:
        """The answer has got this token."""
        data = self._parts.vocabulary.token_bytes[token_id]
        match self._phase:
            case Phase.BOUND:
                self._accept_bound(token_id)
            case Phase.OPENING:
                self._accept_opening(token_id, data)
            case Phase.THINKING:
                self._progress += 1
                if (found := self._advance(data)) is not None:
                    escapes = [opener for opener in self._parts.openers if not opener.thinks]
                    self._enter_answer(found[1], escapes)
            case Phase.FREE:
                if token_id in self._parts.vocabulary.eos_token_ids:
                    self._ended = True
                else:
                    self._accept_free(data)

    def fill(self, row: memoryview) -> LLMatcher | None:
        """Write the next token's mask. Where llguidance computes it, its matcher is returned, which
        has to overwrite the row. `add_own` must follow."""
        vocabulary = self._parts.vocabulary
        if self._phase is Phase.BOUND:
            return self._bound
        if self._phase is Phase.THINKING:
            forced = self._forced_end()
            row[:] = vocabulary.all_but_eos if forced is None else vocabulary.mask_of([forced])
            if forced is not None:
                return None
        elif self._phase is Phase.OPENING and (self._progress or self._bound is not None):
            return None if self._progress else self._bound
        else:
            row[:] = vocabulary.everything
        for token_id in self._excluded():
            row[token_id >> 3] &= ~(1 << (token_id & 7)) & 0xFF
        return None

    def add_own(self, row: memoryview) -> None:
        """Allow what openers allow."""
        if self._phase is Phase.OPENING:
            for opener in self._openers:
                token_id = opener.ids[self._progress]
                row[token_id >> 3] |= 1 << (token_id & 7)

    def _forced_end(self) -> int | None:
        """Of thinking that has reached its limit, the next token."""
        limit = self._parts.thinking_limit
        if limit is None or self._progress < limit:
            return None
        return self._parts.thinking_ends[0].ids[self._progress - limit]

    def _excluded(self) -> list[int]:
        """Tokens that would run from a marker into what must not follow it."""
        return [
            token_id
            for trigger, state in zip(self._triggers, self._states, strict=True)
            for token_id in trigger.excluded(state)
        ]

    def _enter(self, phase: Phase, triggers: Iterable[Trigger] = ()) -> None:
        self._phase = phase
        self._progress = 0
        self._triggers = tuple(triggers)
        self._states = [0] * len(self._triggers)

    def _enter_answer(self, data: bytes, openers: Sequence[Opener]) -> None:
        """The answer begins with `data`, the rest of a token."""
        if self._parts.answer is None:
            self._enter(Phase.FREE, self._parts.branches)
            self._accept_free(data)
        else:
            self._bind(self._parts.answer, data)
        if openers and not data.strip() and not self._error:
            self._phase = Phase.OPENING
            self._openers = openers

    def _advance(self, data: bytes) -> tuple[Trigger, bytes] | None:
        """The trigger that `data` completes first, and what follows it there."""
        found: tuple[Trigger, bytes] | None = None
        for place, trigger in enumerate(self._triggers):
            self._states[place], rest = trigger.advance(self._states[place], data)
            if rest is not None and (found is None or len(rest) > len(found[1])):
                found = trigger, rest
        return found

    def _accept_opening(self, token_id: int, data: bytes) -> None:
        left = [opener for opener in self._openers if opener.ids[self._progress] == token_id]
        if not left:
            blank = not data.strip()
            self._phase = Phase.FREE if self._bound is None else Phase.BOUND
            self.accept(token_id)
            if blank and not self._error and not self.finished:  # an opener may still come
                self._phase = Phase.OPENING
            return
        self._openers = left
        self._progress += 1
        for opener in left:
            if len(opener.ids) == self._progress:
                self._bound = None
                if opener.thinks:
                    self._enter(Phase.THINKING, self._parts.thinking_ends)
                else:
                    self._enter(Phase.FREE)
                return

    def _accept_free(self, data: bytes) -> None:
        if (found := self._advance(data)) is not None:
            trigger, rest = found
            self._bind(self._parts.branches[trigger], rest)

    def _bind(self, prototype: LLMatcher, data: bytes) -> None:
        self._enter(Phase.BOUND)
        self._bound = prototype.deep_copy()
        if data:
            self._consume(self._bound, self._parts.vocabulary.guidance.tokenize_bytes(data))

    def _accept_bound(self, token_id: int) -> None:
        bound = self._bound
        assert bound is not None
        self._consume(bound, [token_id])
        if self._parts.branches and self._parts.repeats and bound.is_stopped() and not self._error:
            self._bound = None
            self._enter(Phase.FREE, self._parts.branches)
            self._ended = token_id in self._parts.vocabulary.eos_token_ids

    def _consume(self, bound: LLMatcher, tokens: list[int]) -> None:
        if not bound.consume_tokens(tokens):
            self._fail(bound)

    def _fail(self, bound: LLMatcher) -> None:
        self._error = bound.get_error() or "it allows none of the tokens"
        if bound.stop_reason() in _LIMITS:
            self._parts.on_limit()
