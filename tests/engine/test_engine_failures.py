"""What breaks around the loop must cost no more than the requests it touches."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import replace
from typing import cast

import pytest
from engine_driver import Collector, make_engine, prompt, running
from fake_executor import FakeExecutor, FakeSampler
from scheduler_driver import make_request

from ftllm.engine.plan import StepPlan, StepResult
from ftllm.engine.request import Event, FinishedEvent, FinishReason
from ftllm.engine.sampling import SamplerFactory
from ftllm.errors import EngineStoppedError

LOGGER = "ftllm.engine.engine"


class BrokenExecutor(FakeExecutor):
    """Fails the steps in which one of the `poison` tokens is computed."""

    poison = 49

    def step(self, plan: StepPlan) -> StepResult:
        result = super().step(plan)
        if self.poison in plan.token_ids:
            raise RuntimeError("kernel went wrong")
        return result


class ShortExecutor(FakeExecutor):
    """Loses a row of its first step's result."""

    def step(self, plan: StepPlan) -> StepResult:
        result = super().step(plan)
        return replace(result, token_ids=result.token_ids[1:]) if self.steps == 1 else result


class RefusingSampler(FakeSampler):
    def accept(self, token_id: int) -> None:
        raise MemoryError("no more counts")


def error_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == LOGGER and record.levelno >= logging.ERROR
    ]


def test_failed_step_ends_its_requests_and_no_others(caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine(BrokenExecutor(max_batch=1))
    poisoned, healthy = Collector(), Collector()
    # The healthy one waits while the poisoned one runs, so it is in no failed step.
    engine.submit(make_request("poisoned", [1, 2, 49]), poisoned)
    engine.submit(make_request("healthy", [1, 2, 3], max_tokens=1), healthy)
    with running(engine):
        finish = poisoned.wait()
        assert healthy.wait().reason is FinishReason.LENGTH
        again = Collector()
        engine.submit(make_request("again", [1, 2, 3], max_tokens=1), again)
        again.wait()
        stats = engine.stats()
    assert finish.reason is FinishReason.ERROR
    assert finish.error == "The step failed: RuntimeError: kernel went wrong"
    assert (stats.failed_steps, stats.finished_error) == (1, 1)
    assert again.tokens == healthy.tokens
    assert len(error_lines(caplog)) == 1


def test_all_requests_of_a_failed_step_get_the_error() -> None:
    engine = make_engine(BrokenExecutor())
    sinks = [Collector() for _ in range(3)]
    for index, sink in enumerate(sinks):
        engine.submit(make_request(f"r{index}", [index, 49]), sink)
    with running(engine):
        for sink in sinks:
            assert sink.wait().reason is FinishReason.ERROR
            assert sink.tokens == []


def test_failed_steps_in_a_row_are_counted_until_one_succeeds() -> None:
    engine = make_engine(BrokenExecutor())
    counts = []
    with running(engine):
        for number, last in enumerate([49, 49, 3, 49]):
            sink = Collector()
            engine.submit(make_request(f"r{number}", [1, last], max_tokens=1), sink)
            sink.wait()
            counts.append(engine.stats().failed_in_row)
    assert counts == [1, 2, 0, 1]


def test_result_with_too_few_rows_is_a_failed_step() -> None:
    engine = make_engine(ShortExecutor())
    sink, later = Collector(), Collector()
    engine.submit(make_request("a", prompt(3)), sink)
    with running(engine):
        finish = sink.wait()
        engine.submit(make_request("b", prompt(3)), later)
        assert later.wait().reason is FinishReason.LENGTH
    assert finish.reason is FinishReason.ERROR
    assert "1 output rows" in (finish.error or "")


def test_sink_that_raises_is_aborted_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Which is written in the context of the submit, where a log's filter finds whose it is."""
    submitter = ContextVar("submitter", default="nobody")
    seen: list[str] = []

    def refuse(events: list[Event]) -> None:
        raise OSError("pipe closed")

    def see(record: logging.LogRecord) -> bool:
        seen.append(submitter.get())
        return True

    caplog.handler.addFilter(see)
    engine = make_engine(FakeExecutor())
    broken, healthy = Collector(refuse), Collector()
    token = submitter.set("me")
    engine.submit(make_request("broken", prompt(4), max_tokens=50), broken)
    submitter.reset(token)
    engine.submit(make_request("healthy", prompt(4, 1), max_tokens=9), healthy)
    with running(engine):
        assert healthy.wait().reason is FinishReason.LENGTH
        assert broken.wait().reason is FinishReason.ABORTED
        stats = engine.stats()
    assert len(broken.tokens) == 1
    assert stats.finished_aborted == 1
    assert error_lines(caplog) == ["The sink of request broken raised; the request is aborted."]
    assert "OSError: pipe closed" in caplog.text
    assert seen == ["me"]


def test_sink_that_raises_at_the_end_is_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(events: list[Event]) -> None:
        if isinstance(events[-1], FinishedEvent):
            raise OSError("pipe closed")

    engine = make_engine(FakeExecutor())
    sink, later = Collector(refuse), Collector()
    with running(engine):
        engine.submit(make_request("a", prompt(4), max_tokens=2), sink)
        assert sink.wait().reason is FinishReason.LENGTH
        engine.submit(make_request("b", prompt(4), max_tokens=2), later)
        later.wait()
    assert len(sink.batches) == 2
    assert len(error_lines(caplog)) == 1


def test_sink_that_raises_while_the_engine_stops() -> None:
    def refuse(events: list[Event]) -> None:
        raise OSError("pipe closed")

    engine = make_engine(FakeExecutor())
    broken, healthy = Collector(refuse), Collector()
    engine.submit(make_request("broken", prompt(4)), broken)
    engine.submit(make_request("healthy", prompt(4)), healthy)
    engine.shutdown()
    assert broken.wait().reason is FinishReason.ABORTED
    assert healthy.wait().reason is FinishReason.ABORTED


def test_broken_loop_ends_every_request_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    factory = cast(SamplerFactory, RefusingSampler)
    engine = make_engine(FakeExecutor(max_batch=1), sampler_factory=factory)
    sinks = [Collector() for _ in range(3)]
    for index, sink in enumerate(sinks):
        engine.submit(make_request(f"r{index}", prompt(4)), sink)
    engine.start()
    for sink in sinks:
        finish = sink.wait()
        assert finish.reason is FinishReason.ERROR
        assert finish.error == "The engine failed: MemoryError: no more counts"
    engine.shutdown()
    assert not engine.stats().alive
    with pytest.raises(EngineStoppedError, match="no more counts"):
        engine.submit(make_request("late", prompt(4)), Collector())
    assert len(error_lines(caplog)) == 1
