"""Sequences under a grammar: scheduling, drafts, preemption, ends; and the thread of masks."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence

import pytest
from engine_driver import Collector, GatedExecutor, expected, make_engine, prompt, running, wait_for
from fake_executor import FakeExecutor
from fake_grammar import FakeFiller, FakeGrammar
from oracle_drafter import OracleDrafter
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishReason, Request, TokensEvent
from ftllm.errors import RequestError


def rising(tokens: Sequence[int]) -> list[int] | None:
    """Each token is one of the four above the last; every fifth is free."""
    if not tokens:
        return list(range(10, 20))
    if len(tokens) % 5 == 0:
        return None
    return [(tokens[-1] + step) % 50 for step in range(1, 5)]


def params(seed: int = 1, *, length: int = 1000, **fields: object) -> SamplingParams:
    return SamplingParams(
        seed=seed,
        max_tokens=20,
        grammar=FakeGrammar(rising, length),
        **fields,  # type: ignore[arg-type]
    )


def follows(tokens: Sequence[int]) -> bool:
    places = ((rising(tokens[:place]), token) for place, token in enumerate(tokens))
    return all(allowed is None or token in allowed for allowed, token in places)


def test_every_token_is_allowed() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("bound", prompt(5), params(logprobs=1)))
    driver.add(make_request("free", prompt(5), max_tokens=20))
    driver.run()
    driver.verify()
    assert follows(driver.tokens("bound"))
    assert not follows(driver.tokens("free"))
    assert len(driver.tokens("bound")) == 20


def test_only_rows_that_are_constrained_have_masks() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=4))
    driver.add(make_request("a", prompt(10), params(prompt_logprobs=0)))
    driver.run()
    driver.verify()
    plans = driver.executor.plans
    assert [plan.masks is not None for plan in plans[:3]] == [False, False, True]  # the prompt
    decodes = [plan.masks is None for plan in plans[2:]]
    assert [place for place, free in enumerate(decodes) if free] == [5, 10, 15]


def test_a_complete_output_ends_at_once() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(5), params(length=7)))
    driver.run()
    assert driver.finish("a").reason is FinishReason.STOP
    assert len(driver.tokens("a")) == 7
    assert len(driver.executor.plans) == 7  # no step for an end token


@pytest.mark.parametrize("error_rate", [0.0, 0.3, 1.0])
def test_drafts_change_nothing(error_rate: float) -> None:
    def drafter(request: Request) -> OracleDrafter:
        return OracleDrafter(request, error_rate=error_rate, context_len=64)

    driver = SchedulerDriver(FakeExecutor(num_blocks=40), make_drafter=drafter, max_model_len=64)
    for number in range(3):
        driver.add(make_request(str(number), prompt(5, number), params(number)))
    driver.add(make_request("short", prompt(5, 9), params(9, length=6, logprobs=2)))
    driver.run()
    for name in "012":
        tokens = driver.tokens(name)
        assert tokens == expected(driver.requests[name])
        assert follows(tokens)
    assert driver.finish("short").reason is FinishReason.STOP
    if error_rate < 1:
        assert driver.scheduler.accepted_tokens > 10


def test_drafts_end_before_the_first_that_is_not_allowed() -> None:
    class Stubborn:
        def propose(self, most: int, price: float) -> Sequence[int]:
            return [49] * most  # never allowed, but for the free places

        def record(self, tokens: Sequence[int], *, drafted: int, accepted: int) -> None:
            pass

    driver = SchedulerDriver(FakeExecutor(), make_drafter=lambda _: Stubborn())
    grammar = FakeGrammar(lambda tokens: [len(tokens)])
    driver.add(make_request("a", prompt(5), SamplingParams(max_tokens=20, grammar=grammar)))
    driver.run()
    assert driver.tokens("a") == list(range(20))
    assert driver.scheduler.drafted_tokens == 0


def test_preempted_and_chunked_sequences_keep_their_place() -> None:
    """Six sequences in a cache for three of them, prefilled in chunks of what is left."""
    driver = SchedulerDriver(FakeExecutor(num_blocks=18, max_batched_tokens=9))
    for number in range(6):
        driver.add(make_request(str(number), prompt(9, number), params(number)))
    driver.run()
    driver.verify()
    assert driver.scheduler.preemptions > 0
    assert all(follows(driver.tokens(str(number))) for number in range(6))


@pytest.mark.parametrize("seed", range(20))
def test_random_work(seed: int) -> None:
    rng = random.Random(seed)

    def drafter(request: Request) -> OracleDrafter:
        return OracleDrafter(request, error_rate=rng.random(), context_len=200)

    driver = SchedulerDriver(
        FakeExecutor(num_blocks=rng.randrange(16, 40), max_batched_tokens=rng.randrange(9, 40)),
        make_drafter=drafter,
        max_model_len=200,
    )
    for number in range(12):
        length = rng.randrange(1, 20)
        plain = SamplingParams(seed=number, max_tokens=15)
        chosen = params(number) if rng.random() < 0.6 else plain
        driver.add(make_request(str(number), prompt(length, number), chosen))
        driver.step()
    driver.run()
    driver.verify()


def test_a_mask_that_leaves_nothing_ends_with_an_error_unless_the_output_is_complete() -> None:
    driver = SchedulerDriver(FakeExecutor())
    stuck = FakeGrammar(lambda tokens: [3] if not tokens else [])
    driver.add(make_request("stuck", prompt(5), SamplingParams(grammar=stuck)))
    driver.run()
    end = driver.finish("stuck")
    assert end.reason is FinishReason.GRAMMAR
    assert "allow no token" in str(end.error)
    assert driver.tokens("stuck") == [3]


def test_a_grammar_that_fails_ends_with_its_reason() -> None:
    driver = SchedulerDriver(FakeExecutor())
    failing = FakeGrammar(lambda tokens: [len(tokens)], failing=frozenset({2}))
    driver.add(make_request("a", prompt(5), SamplingParams(grammar=failing)))
    driver.add(make_request("b", prompt(5), max_tokens=9))
    driver.run()
    end = driver.finish("a")
    assert end.reason is FinishReason.GRAMMAR
    assert "token 2 is too much" in str(end.error)
    assert driver.tokens("a") == [0, 1, 2]
    assert driver.finish("b").reason is FinishReason.LENGTH


def test_an_engine_fills_masks_beside_its_steps() -> None:
    """The step is under way while the masks are computed, and waits for them."""
    executor, filler = GatedExecutor(), FakeFiller()
    filler.go.clear()
    engine = make_engine(executor, mask_filler=filler)
    request = make_request("a", prompt(5), params())
    collector = Collector()
    with running(engine):
        engine.submit(request, collector)
        executor.wait_until_entered()
        wait_for(lambda: filler.calls == 1)
        executor.permit(20)
        assert not collector.batches
        filler.go.set()
        collector.wait()
    assert collector.tokens == expected(request)
    assert follows(collector.tokens)
    assert threading.active_count() < 50
    assert not any(thread.name == "masks" for thread in threading.enumerate())


def test_masks_that_cannot_be_filled_end_their_requests_and_no_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = make_engine(FakeExecutor(), mask_filler=FakeFiller(broken=True))
    bound, free = Collector(), Collector()
    with running(engine), caplog.at_level(logging.ERROR):
        engine.submit(make_request("bound", prompt(5), params()), bound)
        engine.submit(make_request("free", prompt(5), max_tokens=9), free)
        assert bound.wait().reason is FinishReason.GRAMMAR
        assert free.wait().reason is FinishReason.LENGTH
    assert any("Masks" in record.getMessage() for record in caplog.records)
    assert not any(isinstance(event, TokensEvent) for event in bound.events)


def test_an_engine_without_a_filler_refuses_grammars() -> None:
    engine = make_engine(FakeExecutor())
    with pytest.raises(RequestError, match="no grammars"):
        engine.submit(make_request("a", prompt(5), params()), Collector())
    engine.shutdown()
