"""What the engine tells about the time that its steps and queues took."""

from __future__ import annotations

import time

from engine_driver import Collector, GatedExecutor, make_engine, prompt, running
from fake_executor import FakeExecutor
from scheduler_driver import make_request

from ftllm.engine.params import SamplingParams
from ftllm.engine.step_log import MAX_ENTRIES, StepLog, StepTime


def test_every_step_is_told_once() -> None:
    engine = make_engine(FakeExecutor(max_batched_tokens=8))
    sink = Collector()
    started = time.monotonic()
    with running(engine):
        engine.submit(make_request("r", prompt(20), SamplingParams(max_tokens=3)), sink)
        assert sink.wait().output_tokens == 3
    steps = engine.take_step_times().steps
    assert [step.tokens for step in steps] == [8, 8, 4, 1, 1]
    assert all(step.seconds > 0 for step in steps)
    assert sum(step.seconds for step in steps) < time.monotonic() - started
    assert engine.take_step_times().steps == []


def test_waiting_is_told_apart_from_running() -> None:
    executor = GatedExecutor(max_batch=1)
    engine = make_engine(executor)
    first, second, never = Collector(), Collector(), Collector()
    with running(engine):
        for name, sink in (("a", first), ("b", second), ("c", never)):
            engine.submit(make_request(name, prompt(4), SamplingParams(max_tokens=1)), sink)
        executor.wait_until_entered()
        engine.abort("c")
        time.sleep(0.1)
        executor.permit(2)
        waits = [sink.wait().queue_seconds for sink in (first, second, never)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[1] >= waits[0] + 0.1
    assert waits[2] is None


def test_the_queues_limit_is_told() -> None:
    executor = GatedExecutor(max_batch=2)
    engine = make_engine(executor, max_queue=1)
    assert engine.stats().max_live == 3
    with running(engine):
        for number in range(3):
            assert not engine.stats().full
            engine.submit(make_request(f"r{number}", prompt(4)), Collector())
        assert engine.stats().full
        executor.permit(100)


def test_the_oldest_entries_are_forgotten() -> None:
    log = StepLog()
    for number in range(MAX_ENTRIES + 1):
        log.add_step(0.0, number)
    log.add_masks(0.5)
    times = log.take()
    assert len(times.steps) == MAX_ENTRIES
    assert times.steps[0] == StepTime(0.0, 1)
    assert times.mask_seconds == [0.5]
