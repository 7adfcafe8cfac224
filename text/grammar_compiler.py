"""Compiles grammars for one vocabulary, on threads of its own, each once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from typing import Protocol, TypeVar

from llguidance import LLExecutor, LLMatcher, LLParserLimits

from ftllm.errors import RequestError
from ftllm.text.grammar import Grammar, Thinking
from ftllm.text.grammar_matcher import GrammarMatcher, Opener, Parts
from ftllm.text.grammar_source import grammar_sources
from ftllm.text.grammar_trigger import Trigger
from ftllm.text.grammar_vocabulary import GrammarVocabulary
from ftllm.text.tokenizer import Tokenizer

Result = TypeVar("Result")

CACHED_GRAMMARS = 128
MAX_REASON_CHARS = 600
MASKS_ON_ONE_THREAD = 8
STACK_BYTES = 256 << 20  # of a thread that compiles: llguidance follows references by recursion


def _limits() -> LLParserLimits:
    """With these a grammar compiles within about a second, and a mask takes a few milliseconds at
    most."""
    return LLParserLimits(
        initial_lexer_fuel=2_000_000,
        step_lexer_fuel=200_000,
        step_max_items=50_000,
        max_items_in_row=2_000,
        max_lexer_states=100_000,
        max_grammar_size=500_000,
        verbose_errors=False,  # the text of an error must not carry the answer
    )


class CompiledGrammar:
    """What `GrammarCompiler` makes: the engine's `TokenGrammar`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def matcher(self) -> GrammarMatcher:
        """A new one, at the beginning."""
        return GrammarMatcher(self._parts)


class _Rows(Protocol):
    """The engine's `MaskRows`."""

    @property
    def address(self) -> int: ...

    @property
    def row_bytes(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def data(self) -> memoryview: ...


class _Request(Protocol):
    """The engine's `MaskRequest`; its matcher is one of ours."""

    @property
    def matcher(self) -> object: ...

    @property
    def row(self) -> int: ...

    @property
    def drafts(self) -> Sequence[int]: ...


class GrammarCompiler:
    """Thread-safe. Also the engine's `MaskFiller` for its grammars: all masks of a step that
    llguidance computes are one call, without the GIL, on `mask_threads` threads.

    `vocab_size` is the model's; `eos_token_ids` may be sampled wherever an answer is complete.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        vocab_size: int,
        eos_token_ids: frozenset[int],
        threads: int = 2,
        mask_threads: int = 1,
    ) -> None:
        self._make_vocabulary = partial(
            GrammarVocabulary, tokenizer, vocab_size=vocab_size, eos_token_ids=eos_token_ids
        )
        self._mask_threads = mask_threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ftllm-grammar")
        self._cache_lock = threading.Lock()
        self._vocabulary_lock = threading.Lock()
        self._made: GrammarVocabulary | None = None
        self._prepared: Future[None] | None = None
        self._futures: OrderedDict[Grammar, Future[CompiledGrammar]] = OrderedDict()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def prepare(self) -> Future[None]:
        """Begins to read the vocabulary, unless it is read; else the first grammar does."""
        with self._cache_lock:
            if self._prepared is None:
                self._prepared = self._begin(self._read_vocabulary)
            return self._prepared

    def submit(self, grammar: Grammar) -> Future[CompiledGrammar]:
        """Begins to compile, unless it is known. The future raises `RequestError`, with
        llguidance's reason, for a grammar that is broken or that it cannot honour."""
        with self._cache_lock:
            future = self._futures.get(grammar)
            if future is None:
                future = self._begin(partial(self._compile, grammar))
                self._futures[grammar] = future
                if len(self._futures) > CACHED_GRAMMARS:
                    self._futures.popitem(last=False)
            self._futures.move_to_end(grammar)
            return future

    def _begin(self, work: Callable[[], Result]) -> Future[Result]:
        """The pool starts threads when it gets work, and this says how large their stack is."""
        before = threading.stack_size(STACK_BYTES)
        try:
            return self._pool.submit(work)
        finally:
            threading.stack_size(before)

    def compile(self, grammar: Grammar) -> CompiledGrammar:
        """`submit`, and its result."""
        return self.submit(grammar).result()

    def fill(self, requests: Sequence[_Request], masks: _Rows) -> None:
        """Compute masks. A row that cannot be computed stays 0, and its matcher tells why."""
        size = masks.row_bytes
        rows = [masks.data[row * size : (row + 1) * size] for row in range(masks.rows)]
        jobs: list[tuple[LLMatcher, int, list[int]]] = []
        for request in requests:
            matcher = request.matcher
            assert isinstance(matcher, GrammarMatcher)
            if request.drafts and matcher.bound is None:
                last = request.row + len(request.drafts)
                self._fill_one_by_one(matcher, rows[request.row : last + 1], request.drafts)
            elif (bound := matcher.fill(rows[request.row])) is not None:
                jobs.append((bound, request.row, list(request.drafts)))
        self._compute(jobs, masks)
        for bound, row, drafts in jobs:
            if bound.is_error():  # its mask would allow an end
                for place in range(row, row + 1 + len(drafts)):
                    rows[place][:] = bytes(size)
        for request in requests:
            matcher = request.matcher
            if not request.drafts and isinstance(matcher, GrammarMatcher) and not matcher.error:
                matcher.add_own(rows[request.row])

    def _compute(self, jobs: Sequence[tuple[LLMatcher, int, list[int]]], masks: _Rows) -> None:
        """Many are one call: the GIL, which other threads may hold for long, is taken once. A few
        are computed here: to wake llguidance's threads takes as long."""
        where = masks.address, masks.row_bytes, masks.rows
        single = [(bound, row) for bound, row, drafts in jobs if not drafts]
        if len(single) > MASKS_ON_ONE_THREAD:
            self._executor.unsafe_compute_mask_ptr(single, *where)
        else:
            for bound, row in single:
                address = masks.address + row * masks.row_bytes
                bound.unsafe_compute_mask_ptr(address, masks.row_bytes)
        if drafted := [job for job in jobs if job[2]]:
            self._executor.unsafe_compute_mask_ptr_with_draft_token(drafted, *where)

    def _fill_one_by_one(
        self, matcher: GrammarMatcher, rows: Sequence[memoryview], drafts: Sequence[int]
    ) -> None:
        """Where a draft may lead from free text into a grammar or out of it."""
        probe = matcher.copy()
        for place, row in enumerate(rows):
            bound = probe.fill(row)
            if bound is not None:
                row[:] = bound.compute_bitmask()
                if bound.is_error():
                    row[:] = bytes(len(row))
                    return
            probe.add_own(row)
            if place == len(drafts):
                return
            draft = drafts[place]
            if not row[draft >> 3] >> (draft & 7) & 1:
                return
            probe.accept(draft)
            if probe.finished:
                return

    @cached_property
    def _executor(self) -> LLExecutor:
        return LLExecutor(self._mask_threads)

    def _read_vocabulary(self) -> None:
        assert self._vocabulary().guidance is not None

    def _vocabulary(self) -> GrammarVocabulary:
        """Made when the first grammar arrives: it takes about a second for 150,000 tokens."""
        with self._vocabulary_lock:
            if self._made is None:
                self._made = self._make_vocabulary()
            return self._made

    def _compile(self, grammar: Grammar) -> CompiledGrammar:
        vocabulary = self._vocabulary()
        if not vocabulary.eos_token_ids:
            raise RequestError(
                "This model has no end-of-sequence token, so that no grammar can end its answer.",
                param="grammar",
            )
        sources = grammar_sources(grammar, vocabulary.special_id)
        matchers = {
            source: _prototype(source, vocabulary, grammar.kind.value)
            for source in dict.fromkeys(sources.values())
        }
        answer = matchers[sources.pop("")] if "" in sources else None
        thinking = grammar.thinking or Thinking(ends=())
        openers = [(text, True) for text in thinking.starts]
        openers += [(text, False) for text in grammar.escapes]
        parts = Parts(
            vocabulary=vocabulary,
            thinking_ends=tuple(_trigger(text, answer, vocabulary) for text in thinking.ends),
            begins_thinking=bool(thinking.ends) and not thinking.starts,
            thinking_limit=thinking.limit,
            openers=tuple(
                Opener(tuple(vocabulary.encode(text)), thinks) for text, thinks in openers
            ),
            answer=answer,
            branches={
                _trigger(text, matchers[source], vocabulary): matchers[source]
                for text, source in sources.items()
            },
            repeats=grammar.repeats,
            on_limit=partial(self._forget, grammar),
        )
        return CompiledGrammar(parts)

    def _forget(self, grammar: Grammar) -> None:
        """Its matchers share tables, which have grown to a limit: the next one begins anew."""
        with self._cache_lock:
            self._futures.pop(grammar, None)


def _prototype(source: str, vocabulary: GrammarVocabulary, kind: str) -> LLMatcher:
    """A matcher at its beginning, its first mask computed once for all copies."""
    matcher = LLMatcher(vocabulary.guidance, source, log_level=0, limits=_limits())
    reasons = [matcher.get_error()] if matcher.is_error() else matcher.get_grammar_warnings()
    if not reasons:
        mask = matcher.compute_bitmask()
        if matcher.is_error():
            reasons = [matcher.get_error()]
        elif not any(mask):
            reasons = ["no text matches it"]
    if reasons:
        reason = "; ".join(reasons).strip()[:MAX_REASON_CHARS]
        raise RequestError(
            f"The {kind} cannot be honoured: {reason}", param="grammar", code="invalid_grammar"
        )
    return matcher


def _trigger(marker: str, prototype: LLMatcher | None, vocabulary: GrammarVocabulary) -> Trigger:
    """`prototype` matches what must follow the marker; None: anything may."""

    def follows(data: bytes) -> bool:
        if prototype is None:
            return True
        tokens = vocabulary.guidance.tokenize_bytes(data)
        return prototype.deep_copy().validate_tokens(tokens) == len(tokens)

    return Trigger(marker, vocabulary, follows)
