"""Chooses what each step computes: schedule → (executor) → commit, or rollback if it failed.

First come first served within a priority. A step holds one row for every sequence that decodes,
then chunks of prefill up to the token budget. Blocks for all known tokens are taken at admission;
a decode that finds no block for its next token preempts the last running sequence.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from operator import attrgetter

from ftllm.engine.block_tables import BlockTables
from ftllm.engine.engine_config import EngineLimits
from ftllm.engine.plan import StepPlan
from ftllm.engine.plan_builder import Chunk, build_plan
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

Deliveries = dict[str, list[Event]]
"""Events of one step by request id, in the order in which they happened."""

_ORDER = attrgetter("order")

_NO_LOGITS = "no logit of the next token is a number; the weights or the prompt overflow"


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
        self.prompt_tokens = 0  # of requests whose prefill is complete, cached tokens included
        self.generated_tokens = 0
        self.finished: Counter[FinishReason] = Counter()

    @property
    def has_work(self) -> bool:
        return bool(self._live)

    def add(self, seq: Sequence) -> None:
        """Queue a validated sequence: its `context_len` fits the KV cache."""
        seq.order = (seq.request.priority, self._arrivals)
        self._arrivals += 1
        self._live[seq.request.request_id] = seq
        insort(self.waiting, seq, key=_ORDER)

    def abort(self, request_id: str) -> FinishedEvent | None:
        """End a request between two steps; None if it is not live."""
        seq = self._live.get(request_id)
        return None if seq is None else self._finish(seq, FinishReason.ABORTED)

    def schedule(self) -> StepPlan | None:
        """The next step, or None when there is no work. `commit` or `rollback` must follow."""
        assert self._step is None, "the last step was neither committed nor rolled back"
        self._make_room()
        chunks = [Chunk(seq, 1) for seq in self.running if seq.pending == 1]
        budget = self._limits.max_batched_tokens - len(chunks)
        prefills = self._prefills()
        while budget > 0 and (seq := next(prefills, None)) is not None:
            chunks.append(Chunk(seq, min(seq.pending, budget)))
            budget -= chunks[-1].rows
        if not chunks:
            assert not self._live, "requests are live, but none can advance"
            return None
        plan = build_plan(chunks, self.tables)
        self._step = plan, chunks
        return plan

    def commit(self, plan: StepPlan, readout: Readout) -> Deliveries:
        """Take a step's result: sequences advance, and those that are done leave."""
        events: Deliveries = {}
        row = 0
        for chunk in self._take_step(plan):
            seq, rows = chunk
            samples = chunk.samples
            for _ in range(seq.targets(rows)):
                self._add_prompt_logprobs(seq, readout, row)
                row += 1
            seq.num_computed += rows
            if 0 < seq.next_full <= seq.num_computed:
                self.tables.enter_full_blocks(seq)
            if samples:
                events[seq.request.request_id] = self._add_token(seq, readout, row)
                row += 1
        return events

    def rollback(self, plan: StepPlan, error: str) -> Deliveries:
        """Undo a step that failed: nothing of it counts, and its sequences end with `error`."""
        return {
            seq.request.request_id: [self._finish(seq, FinishReason.ERROR, error)]
            for seq, _ in self._take_step(plan)
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

    def _prefills(self) -> Iterator[Sequence]:
        """Running prefills in order, and waiting sequences, admitted when it is their turn."""
        for seq in [seq for seq in self.running if seq.pending > 1]:
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
        return seq

    def _add_token(self, seq: Sequence, readout: Readout, row: int) -> list[Event]:
        request_id, params = seq.request.request_id, seq.request.params
        token = readout.token_ids[row]
        if token < 0:
            return [self._finish(seq, FinishReason.ERROR, _NO_LOGITS)]
        events: list[Event] = []
        if seq.prompt_logprobs is not None:
            events.append(PromptLogprobsEvent(request_id, tuple(seq.prompt_logprobs)))
            seq.prompt_logprobs = None
        if len(seq.tokens) == seq.num_prompt:
            self.prompt_tokens += seq.num_prompt
        self.generated_tokens += 1
        seq.sampler.accept(token)
        seq.tokens.append(token)
        logprobs: tuple[TokenLogprobs, ...] | None = None
        if params.logprobs is not None:
            logprobs = (readout.logprobs(row, params.logprobs),)
        events.append(TokensEvent(request_id, (token,), logprobs))
        if token in params.stop_token_ids:
            events.append(self._finish(seq, FinishReason.STOP))
        elif len(seq.tokens) == seq.max_len:
            events.append(self._finish(seq, FinishReason.LENGTH))
        return events

    def _add_prompt_logprobs(self, seq: Sequence, readout: Readout, row: int) -> None:
        top = seq.request.params.prompt_logprobs
        assert seq.prompt_logprobs is not None
        assert top is not None
        seq.prompt_logprobs.append(readout.logprobs(row, top))

    def _finish(
        self, seq: Sequence, reason: FinishReason, error: str | None = None
    ) -> FinishedEvent:
        if seq.blocks:
            self.running.remove(seq)
            self.tables.release(seq)
        else:
            self.waiting.remove(seq)
        del self._live[seq.request.request_id]
        self.finished[reason] += 1
        return seq.finished(reason, error)

    def _take_step(self, plan: StepPlan) -> list[Chunk]:
        assert self._step is not None, "no step is under way"
        scheduled, chunks = self._step
        assert scheduled is plan, "another step is under way"
        self._step = None
        return chunks
