"""Chooses what each step computes: schedule → (executor) → commit, or rollback if it failed.

First come first served within a priority. A step holds one row for every sequence that decodes,
then chunks of prefill up to the token budget, then drafts of the decodes where budget is left.
Blocks for all known tokens are taken at admission; a decode that finds no block for its next token
preempts the last running sequence. Drafts take only blocks that nobody else will need soon, and
give them back when they fail.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from collections.abc import Sequence as Items
from operator import attrgetter

from ftllm.engine.block_tables import BlockTables
from ftllm.engine.engine_config import EngineLimits
from ftllm.engine.matcher import TokenMatcher
from ftllm.engine.plan import ALL_EXCLUDED, StepPlan
from ftllm.engine.plan_builder import Chunk, build_plan, prefill_chunk
from ftllm.engine.prefix_cache import PrefixCache
from ftllm.engine.readout import Readout
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.engine.sequence import Sequence
from ftllm.engine.speculation import MAX_STEP_DRAFTS, Drafter, row_price

Deliveries = dict[str, list[Event]]
"""Events of one step by request id, in the order in which they happened."""

_ORDER = attrgetter("order")
_NO_DRAFT = -1  # equals no token

_NOT_FINITE = "a pooled value is not a finite number; the weights or the prompt overflow"
_NO_LOGITS = "no logit of the next token is a number; the weights or the prompt overflow"
_NO_TOKEN = (
    "the grammar and the sampling parameters together allow no token, and the output is not"
    " complete yet; loosen logit_bias, bad_words, allowed_token_ids or min_tokens, or the grammar"
)


End = tuple[FinishReason, str | None]
"""How a sequence ended, and the error if it failed."""


class Scheduler:
    """Not thread-safe: one thread calls it. `cache` None turns prefix caching off."""

    def __init__(self, limits: EngineLimits, *, cache: PrefixCache | None) -> None:
        self._limits = limits
        self.tables = BlockTables(limits, cache)
        self.waiting: list[Sequence] = []  # both lists are kept in their sequences' order
        self.running: list[Sequence] = []
        self._live: dict[str, Sequence] = {}
        self._arrivals = 0
        self._step: tuple[StepPlan, list[Chunk]] | None = None  # between schedule and commit
        self.preemptions = 0
        self.admitted_tokens = 0  # of prompts, when they first ran
        self._expiring = False  # a request with a queue_timeout has come
        self.prompt_tokens = 0  # of requests whose prefill is complete, cached tokens included
        self.generated_tokens = 0
        self.drafted_tokens = 0
        self.accepted_tokens = 0  # drafts that were right
        self.finished: Counter[FinishReason] = Counter()

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    def add(self, seq: Sequence) -> None:
        """Queue a validated sequence: its `context_len` fits the KV cache."""
        seq.order = (seq.request.priority, self._arrivals)
        self._arrivals += 1
        self._live[seq.request.request_id] = seq
        self._expiring = self._expiring or seq.request.queue_timeout is not None
        insort(self.waiting, seq, key=_ORDER)

    def abort(self, request_id: str) -> FinishedEvent | None:
        """End a request between two steps; None if it is not live."""
        seq = self._live.get(request_id)
        return None if seq is None else self._finish(seq, FinishReason.ABORTED)

    def expire(self, now: float) -> list[FinishedEvent]:
        """End what has waited too long without having run; `now` is `time.monotonic()`."""
        if not self._expiring:
            return []
        expired = [seq for seq in self.waiting if seq.expires_at <= now]
        return [self._finish(seq, FinishReason.EXPIRED, _waited(seq)) for seq in expired]

    def schedule(self) -> StepPlan | None:
        """The next step, or None when there is no work. `commit` or `rollback` must follow."""
        assert self._step is None, "the last step was neither committed nor rolled back"
        self._make_room()
        decodes: list[Sequence] = []
        started: list[Sequence] = []
        for seq in self.running:
            (decodes if seq.decodes else started).append(seq)
        budget = self._limits.max_batched_tokens - len(decodes)
        chunks: list[Chunk] = []
        prefills = self._prefills(started)
        while budget > 0 and (prefill := next(prefills, None)) is not None:
            if self._limits.whole_prompts and prefill.pending > budget:
                break  # it is the first of the next step
            chunks.append(prefill_chunk(prefill, min(prefill.pending, budget)))
            budget -= chunks[-1].rows
        chunks = [*self._with_drafts(decodes, budget), *chunks]
        if not chunks:
            assert not self._live, "requests are live, but none can advance"
            return None
        plan = build_plan(chunks, self.tables, vocab_size=self._limits.vocab_size)
        self._step = plan, chunks
        return plan

    def commit(self, plan: StepPlan, readout: Readout) -> Deliveries:
        """Take a step's result: sequences advance, and those that are done leave."""
        events: Deliveries = {}
        row = pooled_row = 0
        for chunk in self._take_step(plan):
            seq, rows, samples, _ = chunk
            if seq.pooler is not None:
                pooled, scored = len(chunk.pooled(seq.pooler)), len(chunk.scored(seq.pooler))
                seq.pooler.add(readout.hidden[pooled_row : pooled_row + pooled])
                if chunk.completes:
                    values = seq.pooler.values(readout.target_logprobs(row, scored))
                    events[seq.request.request_id] = [self._finish_pooled(chunk, values)]
                else:
                    self._advance(seq, rows)
                pooled_row += pooled
                row += scored
                continue
            for _ in range(seq.targets(rows)):
                self._add_prompt_logprobs(seq, readout, row)
                row += 1
            if samples:
                events[seq.request.request_id] = self._add_tokens(chunk, readout, row)
                row += samples
            else:
                self._advance(seq, rows)
        return events

    def rollback(self, plan: StepPlan, error: str) -> Deliveries:
        """Undo a step that failed: nothing of it counts, and its sequences end with `error`."""
        return {
            seq.request.request_id: [self._finish(seq, FinishReason.ERROR, error)]
            for seq, *_ in self._take_step(plan)
        }

    def check(self) -> None:
        """Assert every invariant that holds between two steps."""
        assert self._step is None, "a step is under way"
        for queue in (self.waiting, self.running):
            assert queue == sorted(queue, key=_ORDER), "a queue is out of order"
        assert len(self.waiting) + len(self.running) == len(self._live), "a sequence is lost"
        assert {*self.waiting, *self.running} == {*self._live.values()}, "a sequence is lost"
        assert len(self.running) <= self._limits.max_batch, "too many sequences run"
        for seq in self._live.values():
            seq.check()
        assert not any(seq.blocks for seq in self.waiting), "a waiting sequence holds blocks"
        self.tables.check(self.running)

    def _make_room(self) -> None:
        """A block for each decode's next token, in order; without one the last sequence yields."""
        place = 0
        while place < len(self.running):
            seq = self.running[place]
            if len(seq.tokens) <= seq.room or self.tables.grow(seq):
                place += 1
            else:
                self._preempt(self.running[-1])

    def _preempt(self, seq: Sequence) -> None:
        self.preemptions += 1
        self.running.remove(seq)
        self.tables.release(seq)
        seq.restart()
        insort(self.waiting, seq, key=_ORDER)

    def _prefills(self, started: list[Sequence]) -> Iterator[Sequence]:
        """Those that have started, and waiting sequences, admitted when it is their turn."""
        for seq in started:
            while (first := self._admit(before=seq)) is not None:
                yield first
            yield seq
        while (first := self._admit(before=None)) is not None:
            yield first

    def _admit(self, *, before: Sequence | None) -> Sequence | None:
        """Start the first waiting sequence if it comes before `before` and fits. A spare block
        for each running sequence keeps the next decodes from preempting it at once."""
        if not self.waiting or len(self.running) == self._limits.max_batch:
            return None
        seq = self.waiting[0]
        if before is not None and seq.order > before.order:
            return None
        if not self.tables.admit(seq, spare=len(self.running)):
            return None
        del self.waiting[0]
        insort(self.running, seq, key=_ORDER)
        if seq.started_at is None:
            seq.started_at = time.monotonic()
            self.admitted_tokens += seq.num_prompt
        return seq

    def _with_drafts(self, decodes: list[Sequence], budget: int) -> Iterator[Chunk]:
        """Each decode's chunk. Those that want few drafts leave the more to the later ones."""
        price = row_price(len(decodes))
        budget = min(budget, MAX_STEP_DRAFTS) if price < 1 else 0
        if budget < 1:
            yield from [Chunk(seq, 1, 1) for seq in decodes]
            return
        for place, seq in enumerate(decodes):
            share = -(-budget // (len(decodes) - place))
            drafts = () if seq.drafter is None else self._drafts(seq, seq.drafter, share, price)
            budget -= len(drafts)
            yield Chunk(seq, 1, 1 + len(drafts), drafts)

    def _drafts(self, seq: Sequence, drafter: Drafter, most: int, price: float) -> Items[int]:
        most = min(
            most,
            seq.max_len - len(seq.tokens) - 1,  # a step gives one token more than it has drafts
            self.tables.draft_room(seq, spare=len(self.running) - 1),  # one for each other
        )
        if most < 1:
            return ()
        drafts = drafter.propose(most, price)
        if seq.matcher is not None and drafts:
            drafts = drafts[: seq.matcher.count_allowed(drafts)]
        while seq.room < len(seq.tokens) + len(drafts):
            self.tables.grow(seq)
        return drafts

    def _advance(self, seq: Sequence, rows: int) -> None:
        """The K/V of the next `rows` known tokens is in the cache."""
        seq.num_computed += rows
        if 0 < seq.next_full <= seq.num_computed:
            self.tables.enter_full_blocks(seq)

    def _add_tokens(self, chunk: Chunk, readout: Readout, row: int) -> list[Event]:
        """Take what was sampled from `row` on: up to the first token that is not as drafted."""
        seq = chunk.seq
        request_id, params = seq.request.request_id, seq.request.params
        known = len(seq.tokens)
        end = self._sample(chunk, readout, row)
        tokens = tuple(seq.tokens[known:])
        self._advance(seq, chunk.rows + max(0, len(tokens) - 1))
        if seq.drafter is not None:
            self._record(seq, seq.drafter, chunk.drafts, tokens)
        events: list[Event] = []
        if seq.prompt_logprobs is not None and (end is None or end[1] is None):
            events.append(PromptLogprobsEvent(request_id, tuple(seq.prompt_logprobs)))
            seq.prompt_logprobs = None
        if tokens:
            if known == seq.num_prompt:
                self.prompt_tokens += seq.num_prompt
            self.generated_tokens += len(tokens)
            logprobs: tuple[TokenLogprobs, ...] | None = None
            if (top := params.logprobs) is not None:
                rows = range(row, row + len(tokens))
                logprobs = tuple(readout.logprobs(place, top) for place in rows)
            events.append(TokensEvent(request_id, tokens, logprobs))
        if end is not None:
            events.append(self._finish(seq, *end))
        return events

    def _sample(self, chunk: Chunk, readout: Readout, row: int) -> End | None:
        """Append the tokens that count to the sequence; returns how it ended, if it did."""
        seq = chunk.seq
        stops, matcher = seq.request.params.stop_token_ids, seq.matcher
        assert seq.sampler is not None, "a pooled sequence samples"
        sampled = readout.token_ids[row : row + chunk.samples]
        for token, draft in zip(sampled, (*chunk.drafts, _NO_DRAFT), strict=True):
            if token < 0:
                return _end_without_token(token, matcher)
            seq.sampler.accept(token)
            seq.tokens.append(token)
            if matcher is not None:
                matcher.accept(token)
                if matcher.error:
                    return FinishReason.GRAMMAR, _grammar_failed(matcher)
                if matcher.finished:
                    return FinishReason.STOP, None
            if token in stops:
                return FinishReason.STOP, None
            if len(seq.tokens) == seq.max_len:
                return FinishReason.LENGTH, None
            if token != draft:
                break
        return None

    def _record(
        self, seq: Sequence, drafter: Drafter, drafts: Items[int], tokens: Items[int]
    ) -> None:
        if not drafts:
            drafter.record(tokens, drafted=0, accepted=0)
            return
        accepted = sum(draft == token for draft, token in zip(drafts, tokens, strict=False))
        drafter.record(tokens, drafted=len(drafts), accepted=accepted)
        for counts in (self, seq):
            counts.drafted_tokens += len(drafts)
            counts.accepted_tokens += accepted
        if accepted < len(drafts):
            self.tables.trim(seq)

    def _add_prompt_logprobs(self, seq: Sequence, readout: Readout, row: int) -> None:
        top = seq.request.params.prompt_logprobs
        assert seq.prompt_logprobs is not None
        assert top is not None
        seq.prompt_logprobs.append(readout.logprobs(row, top))

    def _finish_pooled(self, chunk: Chunk, values: tuple[float, ...] | None) -> FinishedEvent:
        self._advance(chunk.seq, chunk.rows)
        self.prompt_tokens += chunk.seq.num_prompt
        if values is None:
            return self._finish(chunk.seq, FinishReason.ERROR, _NOT_FINITE)
        return self._finish(chunk.seq, FinishReason.STOP, values=values)

    def _finish(
        self,
        seq: Sequence,
        reason: FinishReason,
        error: str | None = None,
        values: tuple[float, ...] | None = None,
    ) -> FinishedEvent:
        if seq.blocks:
            self.running.remove(seq)
            self.tables.release(seq)
        else:
            self.waiting.remove(seq)
        del self._live[seq.request.request_id]
        self.finished[reason] += 1
        return seq.finished(reason, error, values)

    def _take_step(self, plan: StepPlan) -> list[Chunk]:
        assert self._step is not None, "no step is under way"
        scheduled, chunks = self._step
        assert scheduled is plan, "another step is under way"
        self._step = None
        return chunks


def _waited(seq: Sequence) -> str:
    return (
        f"The request has waited for {seq.request.queue_timeout:g} s without its turn coming, which"
        " is as long as a request may wait here."
    )


def _end_without_token(token: int, matcher: TokenMatcher | None) -> End:
    """`token` says why there is none: nothing may follow, or nothing can be told."""
    if token != ALL_EXCLUDED:
        return FinishReason.ERROR, _NO_LOGITS
    if matcher is None:
        return FinishReason.STOP, None
    if matcher.error:
        return FinishReason.GRAMMAR, _grammar_failed(matcher)
    return (FinishReason.STOP, None) if matcher.accepting else (FinishReason.GRAMMAR, _NO_TOKEN)


def _grammar_failed(matcher: TokenMatcher) -> str:
    return (
        f"the output cannot follow its grammar any further ({matcher.error}); a simpler grammar or"
        " schema, or another seed may help"
    )
