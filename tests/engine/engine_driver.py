"""What tests of the engine's thread share: a gated executor, a collecting sink, a bounded life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fake_executor import HIDDEN, FakeExecutor, expected_tokens
from scheduler_driver import FAKE_SAMPLER

from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.matcher import MaskFiller
from ftllm.engine.plan import StepPlan, StepResult
from ftllm.engine.request import Event, FinishedEvent, Request, TokensEvent
from ftllm.engine.sampling import SamplerFactory

PATIENCE = 20.0  # seconds after which a test has hung


class GatedExecutor(FakeExecutor):
    """Runs a step only when the test lets it, and shows when one is about to run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._permits = threading.Semaphore(0)
        self._entered = threading.Semaphore(0)

    def step(self, plan: StepPlan) -> StepResult:
        self._entered.release()
        assert self._permits.acquire(timeout=PATIENCE)
        return super().step(plan)

    def wait_until_entered(self) -> None:
        assert self._entered.acquire(timeout=PATIENCE)

    def permit(self, steps: int = 1) -> None:
        self._permits.release(steps)


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self, react: Callable[[list[Event]], None] | None = None) -> None:
        self.batches: list[list[Event]] = []
        self._react = react
        self._finished = threading.Event()

    def __call__(self, events: list[Event]) -> None:
        self.batches.append(events)
        if isinstance(events[-1], FinishedEvent):
            self._finished.set()
        if self._react is not None:
            self._react(events)

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch]

    @property
    def tokens(self) -> list[int]:
        return [
            token
            for event in self.events
            if isinstance(event, TokensEvent)
            for token in event.token_ids
        ]

    def wait(self) -> FinishedEvent:
        assert self._finished.wait(PATIENCE), "no terminal event"
        last = self.batches[-1][-1]
        assert isinstance(last, FinishedEvent)
        assert sum(isinstance(event, FinishedEvent) for event in self.events) == 1
        return last


def make_engine(
    executor: FakeExecutor,
    *,
    max_queue: int = 256,
    max_queue_tokens: int = 0,
    max_model_len: int = 1000,
    sampler_factory: SamplerFactory = FAKE_SAMPLER,
    mask_filler: MaskFiller | None = None,
) -> Engine:
    config = EngineConfig(
        max_model_len=max_model_len,
        max_batch=executor.max_batch,
        max_batched_tokens=executor.max_batched_tokens,
        max_queue=max_queue,
        max_queue_tokens=max_queue_tokens,
        vocab_size=executor.vocab_size,
        embedding_size=HIDDEN,
    )
    return Engine(executor, config, sampler_factory=sampler_factory, mask_filler=mask_filler)


@contextmanager
def running(engine: Engine) -> Iterator[Engine]:
    engine.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        engine.check()


def prompt(length: int, start: int = 0) -> list[int]:
    return [(start + 7 * place) % 50 for place in range(length)]


def expected(request: Request) -> list[int]:
    return expected_tokens(request.prompt_ids, request.params, vocab_size=50, context_len=1000)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.001)
