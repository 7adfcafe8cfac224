"""Random workloads in tiny block pools: whatever happens, each request's output is its own."""

from __future__ import annotations

import random

import pytest
from fake_executor import FakeExecutor
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle_drafter import OracleDrafter
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.params import SamplingParams
from ftllm.engine.prefix_cache import chain_hash
from ftllm.engine.request import Request
from ftllm.engine.speculation import Drafter, make_drafter

BASES = [[(seed * 13 + place * 5) % 50 for place in range(40)] for seed in range(3)]


def weak_hash(prefix: int, tokens: tuple[int, ...]) -> int:
    """Collides often."""
    return sum(tokens) % 5


ERROR_RATES = {"right": 0.0, "half right": 0.3, "wrong": 1.0}


def drafter_of(request: Request, kind: str, context_len: int) -> Drafter | None:
    if kind in ERROR_RATES:
        return OracleDrafter(request, error_rate=ERROR_RATES[kind], context_len=context_len)
    return make_drafter(kind, request.prompt_ids)


class SchedulerMachine(RuleBasedStateMachine):
    @initialize(
        block_size=st.integers(1, 5),
        capacity=st.integers(12, 60),
        max_batch=st.integers(1, 6),
        max_batched_tokens=st.integers(1, 24),
        max_model_len=st.integers(12, 60),
        prefix_caching=st.sampled_from([True, True, True, False]),
        collide=st.sampled_from([False, False, True]),
        drafts=st.sampled_from(["off", "ngram", "right", "half right", "wrong"]),
    )
    def start(
        self,
        block_size: int,
        capacity: int,
        max_batch: int,
        max_batched_tokens: int,
        max_model_len: int,
        prefix_caching: bool,
        collide: bool,
        drafts: str,
    ) -> None:
        executor = FakeExecutor(
            block_size=block_size,
            num_blocks=-(-capacity // block_size),
            max_batched_tokens=max_batched_tokens,
            max_batch=max_batch,
        )
        self.driver = SchedulerDriver(
            executor,
            max_model_len=max_model_len,
            prefix_caching=prefix_caching,
            chain_hash=weak_hash if collide else chain_hash,
            make_drafter=lambda request: drafter_of(
                request, drafts, self.driver.limits.context_len
            ),
        )
        self.count = 0

    @rule(
        base=st.sampled_from(BASES),
        shared=st.integers(0, 30),
        tail=st.lists(st.integers(0, 49), max_size=6),
        max_tokens=st.none() | st.integers(1, 20),
        stops=st.frozensets(st.integers(0, 49), max_size=3),
        min_tokens=st.integers(0, 5),
        seed=st.integers(-3, 3),
        priority=st.sampled_from([0, 0, 0, 1, -1]),
        salt=st.sampled_from(["", "", "", "salt"]),
        logprobs=st.sampled_from([None, None, 0, 2]),
        prompt_logprobs=st.sampled_from([None, None, None, 0, 2]),
    )
    def add(
        self,
        base: list[int],
        shared: int,
        tail: list[int],
        max_tokens: int | None,
        stops: frozenset[int],
        min_tokens: int,
        seed: int,
        priority: int,
        salt: str,
        logprobs: int | None,
        prompt_logprobs: int | None,
    ) -> None:
        prompt = ([*base[:shared], *tail] or [1])[: self.driver.limits.context_len - 1]
        params = SamplingParams(
            seed=seed,
            max_tokens=max_tokens,
            min_tokens=min(min_tokens, max_tokens or min_tokens),
            stop_token_ids=stops,
            logprobs=logprobs,
            prompt_logprobs=prompt_logprobs,
        )
        self.count += 1
        self.driver.add(
            make_request(f"r{self.count}", prompt, params, priority=priority, salt=salt)
        )

    @rule(steps=st.integers(1, 8))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            self.driver.step()

    @precondition(lambda self: self.count > 0)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.driver.abort(f"r{data.draw(st.integers(1, self.count))}")

    @rule(chance=st.integers(0, 3))
    def fail(self, chance: int) -> None:
        self.driver.step(fail=chance == 0)

    @invariant()
    def consistent(self) -> None:
        if hasattr(self, "driver"):
            self.driver.scheduler.check()

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            self.driver.run()
            self.driver.verify()


SchedulerMachine.TestCase.settings = settings(
    max_examples=250, stateful_step_count=30, deadline=None
)
TestSchedulerMachine = SchedulerMachine.TestCase


def random_request(rng: random.Random, name: str, context_len: int) -> Request:
    base = rng.choice(BASES)
    prompt = [*base[: rng.randrange(30)], *(rng.randrange(50) for _ in range(rng.randrange(1, 6)))]
    params = SamplingParams(
        temperature=rng.choice([0.0, 1.0]),
        seed=rng.randrange(2**64),
        max_tokens=rng.choice([None, 1, 8, 20]),
        stop_token_ids=frozenset(rng.sample(range(50), rng.choice([0, 1]))),
        prompt_logprobs=rng.choice([None, None, None, 1]),
    )
    return make_request(name, prompt[: context_len - 1], params, priority=rng.choice([0, 0, 1]))


@pytest.mark.parametrize("drafts", ["off", "half right"])
@pytest.mark.parametrize("seed", range(12))
def test_busy_pool(seed: int, drafts: str) -> None:
    """Many requests at once in a pool for two or three, with aborts and failures among them."""
    rng = random.Random(seed)
    block_size = rng.choice([1, 2, 4, 7])
    executor = FakeExecutor(
        block_size=block_size,
        num_blocks=-(-rng.randrange(50, 100) // block_size),
        max_batch=rng.choice([3, 8]),
        max_batched_tokens=rng.choice([8, 20, 64]),
    )
    driver = SchedulerDriver(
        executor, max_model_len=48, make_drafter=lambda request: drafter_of(request, drafts, 48)
    )
    for count in range(40):
        driver.add(random_request(rng, f"r{count}", driver.limits.context_len))
        for _ in range(rng.randrange(6)):
            driver.step(fail=rng.random() < 0.01)
        if rng.random() < 0.1:
            driver.abort(f"r{rng.randrange(count + 1)}")
    driver.run()
    driver.verify()
    # With drafts requests take fewer steps, and not every one of these workloads gets crowded.
    assert driver.scheduler.preemptions > 0 or drafts != "off"
    assert driver.scheduler.tables.hit_tokens > 0
    assert (driver.scheduler.accepted_tokens > 0) == (drafts != "off")


def test_the_same_requests_alone() -> None:
    """The oracle of these tests is itself right: it agrees with runs of one request each."""
    rng = random.Random(99)
    requests = [random_request(rng, f"r{count}", 48) for count in range(20)]
    together = SchedulerDriver(FakeExecutor(num_blocks=20), max_model_len=48)
    for request in requests:
        together.add(request)
    together.run()
    together.verify()
    for request in requests:
        alone = SchedulerDriver(
            FakeExecutor(num_blocks=100, max_batched_tokens=1000),
            max_model_len=48,
            prefix_caching=False,
        )
        alone.add(request)
        alone.run()
        name = request.request_id
        assert alone.tokens(name) == together.tokens(name)
        assert alone.finish(name).reason is together.finish(name).reason
