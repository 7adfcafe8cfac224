"""How long requests wait and how many tokens wait."""

from __future__ import annotations

import time

import pytest
from engine_driver import Collector, GatedExecutor, make_engine, prompt, running, wait_for
from fake_executor import FakeExecutor
from scheduler_driver import make_request

from ftllm.engine.request import FinishReason
from ftllm.errors import QueueFullError, RequestError

SOON = 0.03  # seconds


def test_a_request_that_never_runs_expires() -> None:
    executor = GatedExecutor(max_batch=1)
    engine = make_engine(executor)
    first, waiting, patient = Collector(), Collector(), Collector()
    with running(engine):
        engine.submit(make_request("first", prompt(4), max_tokens=3), first)
        executor.wait_until_entered()
        engine.submit(make_request("waiting", prompt(5), queue_timeout=SOON), waiting)
        engine.submit(make_request("patient", prompt(6), max_tokens=1, queue_timeout=60), patient)
        wait_for(lambda: engine.stats().waiting == 2)
        assert engine.stats().queued_tokens == 11
        time.sleep(2 * SOON)
        executor.permit()  # it is seen between two steps
        end = waiting.wait()
        assert end.reason is FinishReason.EXPIRED
        assert "waited for 0.03 s" in (end.error or "")
        assert end.retry_after is not None
        assert 1 <= end.retry_after <= 60
        assert end.output_tokens == 0
        executor.permit(20)
        assert patient.wait().reason is FinishReason.LENGTH
        assert first.wait().reason is FinishReason.LENGTH
        assert engine.stats().finished_expired == 1
        assert engine.stats().queued_tokens == 0


def test_what_has_run_does_not_expire() -> None:
    """Not even when it has to wait again."""
    engine = make_engine(FakeExecutor(num_blocks=8, block_size=4, max_batch=4))
    sinks = [Collector() for _ in range(4)]
    with running(engine):
        for index, sink in enumerate(sinks):
            request = make_request(f"r{index}", prompt(5, index), max_tokens=12, queue_timeout=60)
            engine.submit(request, sink)
        for sink in sinks:
            assert sink.wait().reason is FinishReason.LENGTH
        assert engine.stats().preemptions > 0


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_is_positive(timeout: float) -> None:
    engine = make_engine(FakeExecutor())
    with pytest.raises(RequestError, match="queue_timeout is"):
        engine.submit(make_request("a", prompt(3), queue_timeout=timeout), Collector())


def test_the_queue_is_bounded_by_tokens() -> None:
    executor = GatedExecutor(max_batch=1)
    engine = make_engine(executor, max_queue_tokens=20)
    first, second, third = Collector(), Collector(), Collector()
    with running(engine):
        engine.submit(make_request("first", prompt(30), max_tokens=1), first)  # need not wait
        executor.wait_until_entered()
        engine.submit(make_request("second", prompt(15), max_tokens=1), second)
        with pytest.raises(QueueFullError, match=r"of 15 tokens wait.* has 6.* most 20") as caught:
            engine.submit(make_request("refused", prompt(6)), Collector())
        assert caught.value.retry_after >= 1
        assert engine.stats().rejected == 1
        assert not engine.stats().full
        engine.submit(make_request("third", prompt(5), max_tokens=1), third)
        assert engine.stats().queued_tokens == 20
        assert engine.stats().full
        engine.abort("third")
        executor.permit(20)
        assert second.wait().reason is FinishReason.LENGTH
        assert third.wait().reason is FinishReason.ABORTED
        assert engine.stats().queued_tokens == 0
        assert not engine.stats().full


def test_requests_that_never_ran_leave_no_tokens_behind() -> None:
    engine = make_engine(FakeExecutor(), max_queue_tokens=100)
    engine.submit(make_request("a", prompt(9)), Collector())
    engine.submit(make_request("b", prompt(9)), Collector())
    engine.shutdown()
    engine.check()
