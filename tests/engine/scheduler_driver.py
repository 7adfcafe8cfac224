"""Drives a scheduler with the fake executor, checking every invariant after every step."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import cast

from fake_executor import (
    FakeExecutor,
    FakeSampler,
    expected_tokens,
    logprob,
    mix,
    most_likely,
    prefix_digests,
)
from fake_grammar import FakeFiller

from ftllm.engine.engine_config import EngineConfig, EngineLimits
from ftllm.engine.params import SamplingParams
from ftllm.engine.prefix_cache import ChainHash, PrefixCache, chain_hash
from ftllm.engine.readout import Readout
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.engine.sampling import SamplerFactory, make_sampler
from ftllm.engine.scheduler import Deliveries, Scheduler
from ftllm.engine.sequence import Sequence
from ftllm.engine.speculation import Drafter

FAKE_SAMPLER = cast(SamplerFactory, FakeSampler)


class SchedulerDriver:
    def __init__(
        self,
        executor: FakeExecutor,
        *,
        max_model_len: int = 1000,
        prefix_caching: bool = True,
        causal: bool = True,
        chain_hash: ChainHash = chain_hash,
        make_drafter: Callable[[Request], Drafter | None] = lambda _: None,
    ) -> None:
        self.executor = executor
        config = EngineConfig(
            max_model_len=max_model_len,
            max_batch=executor.max_batch,
            max_batched_tokens=executor.max_batched_tokens,
            vocab_size=executor.vocab_size,
            causal=causal,
        )
        self.limits = EngineLimits.of(config, executor)
        cache = PrefixCache(self.limits.block_size, chain_hash=chain_hash)
        self.make_drafter = make_drafter
        self.filler = FakeFiller(vocab_size=executor.vocab_size)
        self.scheduler = Scheduler(self.limits, cache=cache if prefix_caching else None)
        self.requests: dict[str, Request] = {}
        self.events: dict[str, list[Event]] = {}

    def add(self, request: Request) -> None:
        self.requests[request.request_id] = request
        self.events[request.request_id] = []
        sampler = None if request.pooling else make_sampler(FAKE_SAMPLER, request)
        drafter = self.make_drafter(request)
        grammar = request.params.grammar
        matcher = None if grammar is None else grammar.matcher()
        self.scheduler.add(Sequence(request, sampler, self.limits.context_len, drafter, matcher))
        self.scheduler.check()

    def abort(self, request_id: str) -> None:
        event = self.scheduler.abort(request_id)
        if event is not None:
            self.take({request_id: [event]})

    def step(self, *, fail: bool = False) -> list[str] | None:
        """Ids in the order of the plan's sequences; None when there was no work."""
        plan = self.scheduler.schedule()
        if plan is None:
            assert not self.scheduler.has_work
            return None
        ids = self._ids_by_table(plan.block_tables.tolist())
        if plan.masks is not None:
            self.filler.fill(plan.mask_requests, plan.masks)
            plan.masks.publish()
        result = self.executor.step(plan)  # a failing step has written, too
        if fail:
            self.take(self.scheduler.rollback(plan, "broken"))
        else:
            self.take(self.scheduler.commit(plan, Readout(plan, result)))
        return ids

    def run(self, max_steps: int = 10_000) -> None:
        for _ in range(max_steps):
            if self.step() is None:
                return
        raise AssertionError(f"not done after {max_steps} steps")

    def tokens(self, request_id: str) -> list[int]:
        events = self.events[request_id]
        return [
            token for event in events if isinstance(event, TokensEvent) for token in event.token_ids
        ]

    def finish(self, request_id: str) -> FinishedEvent:
        last = self.events[request_id][-1]
        assert isinstance(last, FinishedEvent)
        return last

    def verify(self) -> None:
        """Every request ended once, with the tokens it would have had alone; no block leaked."""
        self.scheduler.check()
        assert not self.scheduler.has_work
        assert self.scheduler.tables.blocks.used == 0
        for request in self.requests.values():
            verify_events(
                request,
                self.events[request.request_id],
                vocab_size=self.executor.vocab_size,
                context_len=self.limits.context_len,
            )

    def take(self, deliveries: Deliveries) -> None:
        for request_id, events in deliveries.items():
            self.events[request_id] += events
        self.scheduler.check()

    def _ids_by_table(self, tables: list[list[int]]) -> list[str]:
        by_table = {tuple(seq.blocks): seq.request.request_id for seq in self.scheduler.running}
        return [by_table[tuple(b for b in row if b >= 0)] for row in tables]


def verify_events(
    request: Request, events: Items[Event], *, vocab_size: int, context_len: int
) -> None:
    """The whole life of one request against what it must give alone (its seed is set)."""
    params = request.params
    expected = expected_tokens(
        request.prompt_ids, params, vocab_size=vocab_size, context_len=context_len
    )
    last = events[-1]
    assert isinstance(last, FinishedEvent)
    assert [isinstance(event, FinishedEvent) for event in events].count(True) == 1
    rest = list(events[:-1])
    if rest and params.prompt_logprobs is not None:
        first = rest.pop(0)
        assert isinstance(first, PromptLogprobsEvent)
        assert first.logprobs == _expected_prompt_logprobs(request, vocab_size)
    tokens: list[int] = []
    digests = prefix_digests(request.prompt_ids)
    for event in rest:
        assert isinstance(event, TokensEvent)
        assert event.token_ids
        entries: list[TokenLogprobs] = []
        for token in event.token_ids:
            if params.logprobs is not None:
                logits = mix(*digests)
                entries.append(_expected_logprobs(logits, token, params.logprobs, vocab_size))
            digests.append(mix(token, len(digests), digests[-1]))
            tokens.append(token)
        assert event.logprobs == (None if params.logprobs is None else tuple(entries))
    assert (last.prompt_tokens, last.output_tokens) == (len(request.prompt_ids), len(tokens))
    assert 0 <= last.cached_tokens < last.prompt_tokens
    assert 0 <= last.accepted_tokens <= min(last.drafted_tokens, last.output_tokens)
    if last.reason in (FinishReason.ABORTED, FinishReason.ERROR):
        assert tokens == expected[: len(tokens)]
        assert (last.error is None) == (last.reason is FinishReason.ABORTED)
    else:
        assert tokens == expected
        stopped = tokens[-1] in params.stop_token_ids
        assert last.reason is (FinishReason.STOP if stopped else FinishReason.LENGTH)


def _expected_prompt_logprobs(
    request: Request, vocab_size: int
) -> tuple[TokenLogprobs | None, ...]:
    top = request.params.prompt_logprobs
    assert top is not None
    digests = prefix_digests(request.prompt_ids)
    entries: list[TokenLogprobs | None] = [None]
    for place, token in enumerate(request.prompt_ids[1:], 1):
        entries.append(_expected_logprobs(mix(*digests[:place]), token, top, vocab_size))
    return tuple(entries)


def _expected_logprobs(logits: int, token: int, top: int, vocab_size: int) -> TokenLogprobs:
    likely = most_likely(logits, top, vocab_size)
    pairs = tuple((other, logprob(logits, other)) for other in likely)
    rank = most_likely(logits, vocab_size, vocab_size).index(token) + 1
    return TokenLogprobs(token, logprob(logits, token), pairs, rank)


def make_request(
    request_id: str,
    prompt_ids: Items[int],
    params: SamplingParams | None = None,
    *,
    max_tokens: int = 5,
    priority: int = 0,
    salt: str = "",
    queue_timeout: float | None = None,
) -> Request:
    """`params` wins over `max_tokens`; the default is seeded, so that the output is known."""
    return Request(
        request_id=request_id,
        prompt_ids=tuple(prompt_ids),
        params=params or SamplingParams(seed=1, max_tokens=max_tokens),
        priority=priority,
        cache_salt=salt,
        queue_timeout=queue_timeout,
    )
