from __future__ import annotations

import threading
import time
from typing import cast

import pytest
from engine_driver import (
    PATIENCE,
    Collector,
    GatedExecutor,
    expected,
    make_engine,
    prompt,
    running,
    wait_for,
)
from fake_executor import FakeExecutor, FakeSampler
from scheduler_driver import make_request, verify_events

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import Event, FinishedEvent, FinishReason, TokensEvent
from ftllm.engine.sampling import SamplerFactory
from ftllm.errors import (
    ContextLengthError,
    EngineStoppedError,
    QueueFullError,
    RequestError,
)


def test_many_clients_some_of_which_hang_up() -> None:
    executor = FakeExecutor(num_blocks=60, max_batched_tokens=48, max_batch=16)
    engine = make_engine(executor)
    quitters = set(range(0, 60, 6))
    requests = [
        make_request(
            f"r{index}",
            prompt(5 + index % 17, index % 3),
            SamplingParams(temperature=float(index % 2), seed=index, max_tokens=20),
        )
        for index in range(64)
    ]

    def hang_up(events: list[Event]) -> None:
        event = events[-1]
        if isinstance(event, TokensEvent):
            seen[event.request_id] = seen.get(event.request_id, 0) + 1
            if seen[event.request_id] == 10:
                engine.abort(event.request_id)

    seen: dict[str, int] = {}
    sinks = [Collector(hang_up if index in quitters else None) for index in range(64)]

    def client(start: int) -> None:
        for index in range(start, 64, 8):
            engine.submit(requests[index], sinks[index])

    with running(engine):
        threads = [threading.Thread(target=client, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for index, (request, sink) in enumerate(zip(requests, sinks, strict=True)):
            finish = sink.wait()
            verify_events(request, sink.events, vocab_size=50, context_len=240)
            assert (finish.reason is FinishReason.ABORTED) == (index in quitters)
            assert len(sink.tokens) == (10 if index in quitters else 20)
        stats = engine.stats()
    assert (stats.finished_aborted, stats.finished_length) == (10, 54)
    assert (stats.running, stats.waiting, stats.kv_blocks_used) == (0, 0, 0)


def test_events_of_a_step_come_in_one_list() -> None:
    engine = make_engine(FakeExecutor())
    sink = Collector()
    with running(engine):
        params = SamplingParams(seed=1, max_tokens=2, prompt_logprobs=0)
        engine.submit(make_request("a", prompt(3), params), sink)
        sink.wait()
    kinds = [[type(event).__name__ for event in batch] for batch in sink.batches]
    assert kinds == [["PromptLogprobsEvent", "TokensEvent"], ["TokensEvent", "FinishedEvent"]]


def test_abort_takes_effect_at_the_next_step() -> None:
    executor = GatedExecutor()
    engine = make_engine(executor)
    sink, other = Collector(), Collector()
    with running(engine):
        engine.submit(make_request("a", prompt(9), max_tokens=50), sink)
        executor.wait_until_entered()
        engine.submit(make_request("b", prompt(5), max_tokens=2), other)
        engine.abort("a")
        engine.abort("never heard of")
        executor.permit()
        finish = sink.wait()
        executor.permit(2)
        other.wait()
    assert finish.reason is FinishReason.ABORTED
    assert finish.output_tokens == len(sink.tokens) == 1  # of the step that was under way
    assert executor.steps == 3


def test_abort_of_all() -> None:
    executor = GatedExecutor()
    engine = make_engine(executor)
    sinks = [Collector() for _ in range(4)]
    with running(engine):
        for number, sink in enumerate(sinks):
            engine.submit(make_request(f"r{number}", prompt(5), max_tokens=50), sink)
        executor.wait_until_entered()
        assert engine.abort_all() == 4
        executor.permit()
        assert {sink.wait().reason for sink in sinks} == {FinishReason.ABORTED}
        assert engine.abort_all() == 0


def test_reset_of_the_prefix_cache_comes_before_later_requests() -> None:
    engine = make_engine(FakeExecutor())
    with running(engine):
        cached = []
        for number in range(3):
            sink = Collector()
            engine.submit(make_request(f"r{number}", prompt(30), max_tokens=2), sink)
            cached.append(sink.wait().cached_tokens)
            if number == 1:
                engine.reset_prefix_cache()
    assert cached[0] == cached[2] == 0
    assert cached[1] > 0


def test_abort_of_a_waiting_request() -> None:
    engine = make_engine(FakeExecutor())
    sink = Collector()
    engine.submit(make_request("a", prompt(9)), sink)
    engine.abort("a")
    with running(engine):
        assert sink.wait().reason is FinishReason.ABORTED
    assert sink.tokens == []


def test_exactly_max_batch_and_max_queue_requests_are_taken() -> None:
    executor = GatedExecutor(max_batch=2)
    engine = make_engine(executor, max_queue=3)
    sinks = [Collector() for _ in range(5)]
    with running(engine):
        for index, sink in enumerate(sinks):
            engine.submit(make_request(f"r{index}", prompt(4, index), max_tokens=1), sink)
        refused = Collector()
        with pytest.raises(QueueFullError, match=r"5 requests are live.*2 can run.*3 wait") as err:
            engine.submit(make_request("refused", prompt(4)), refused)
        assert 1 <= err.value.retry_after <= 60
        assert engine.stats().rejected == 1
        executor.permit(50)
        sinks[0].wait()
        retried = Collector()
        engine.submit(make_request("refused", prompt(4)), retried)
        retried.wait()
        for sink in sinks:
            assert sink.wait().reason is FinishReason.LENGTH
    assert refused.batches == []


def test_refused_requests_are_not_enqueued() -> None:
    engine = make_engine(FakeExecutor(), max_model_len=20)
    sink = Collector()
    with pytest.raises(RequestError, match="empty"):
        engine.submit(make_request("a", []), sink)
    with pytest.raises(RequestError, match="ids are from 0 to 49"):
        engine.submit(make_request("a", [50]), sink)
    with pytest.raises(ContextLengthError, match=r"20 tokens.* 30 "):
        engine.submit(make_request("a", prompt(30)), sink)
    assert engine.stats().waiting == 0
    with running(engine):
        engine.submit(make_request("a", prompt(3), max_tokens=1), sink)
        sink.wait()
    assert len(sink.batches) == 1


def test_ids_are_unique_among_live_requests() -> None:
    executor = GatedExecutor()
    engine = make_engine(executor)
    first, second = Collector(), Collector()
    with running(engine):
        engine.submit(make_request("a", prompt(4), max_tokens=1), first)
        with pytest.raises(RequestError, match="'a'") as caught:
            engine.submit(make_request("a", prompt(4)), second)
        assert caught.value.param == "request_id"
        executor.permit(2)
        first.wait()
        engine.submit(make_request("a", prompt(4), max_tokens=1), second)
        second.wait()


def test_sink_may_submit_abort_and_read_stats() -> None:
    engine = make_engine(FakeExecutor())
    second = Collector()

    def chain(events: list[Event]) -> None:
        if isinstance(events[-1], FinishedEvent):
            engine.abort("nobody")
            assert engine.stats().running == 0
            engine.submit(make_request("a", prompt(4), max_tokens=2), second)

    first = Collector(chain)
    with running(engine):
        engine.submit(make_request("a", prompt(4), max_tokens=2), first)
        assert second.wait().reason is FinishReason.LENGTH
    assert first.tokens == second.tokens


def test_seeds() -> None:
    seeds: list[int] = []

    class Recorder(FakeSampler):
        def __init__(self, **arguments: object) -> None:
            seeds.append(cast(int, arguments["seed"]))
            super().__init__(**arguments)  # type: ignore[arg-type]

    engine = make_engine(FakeExecutor(), sampler_factory=cast(SamplerFactory, Recorder))
    for index, seed in enumerate((5, -1, -(2**63), 2**64 - 1, None, None)):
        params = SamplingParams(seed=seed, max_tokens=1)
        engine.submit(make_request(f"r{index}", [1], params), Collector())
    engine.shutdown()
    assert seeds[:4] == [5, 2**64 - 1, 2**63, 2**64 - 1]
    assert seeds[4] != seeds[5]
    assert all(0 <= seed < 2**64 for seed in seeds)


def test_shutdown_ends_running_waiting_and_undrained_requests() -> None:
    executor = GatedExecutor(max_batch=1)
    engine = make_engine(executor)
    engine.start()
    sinks = [Collector() for _ in range(4)]
    for index, sink in enumerate(sinks[:3]):
        engine.submit(make_request(f"r{index}", prompt(4), max_tokens=50), sink)
    executor.wait_until_entered()
    engine.submit(make_request("r3", prompt(4)), sinks[3])  # still in the inbox
    stopper = threading.Thread(target=engine.shutdown)
    stopper.start()
    wait_for(lambda: not engine.stats().alive)
    executor.permit()
    stopper.join(PATIENCE)
    assert not stopper.is_alive()
    for sink in sinks:
        assert sink.wait().reason is FinishReason.ABORTED
    assert len(sinks[0].tokens) == 1  # the step under way was delivered
    engine.shutdown()
    engine.check()
    assert engine.stats().waiting == 0
    with pytest.raises(EngineStoppedError, match="shut down"):
        engine.submit(make_request("late", prompt(4)), Collector())
    with pytest.raises(EngineStoppedError):
        engine.start()


def test_shutdown_before_start() -> None:
    engine = make_engine(FakeExecutor())
    sink = Collector()
    engine.submit(make_request("a", prompt(4)), sink)
    engine.shutdown()
    engine.shutdown()
    assert sink.wait().reason is FinishReason.ABORTED


def test_sink_may_shut_the_engine_down() -> None:
    engine = make_engine(FakeExecutor())
    sink = Collector(lambda events: engine.shutdown())
    with running(engine):
        engine.submit(make_request("a", prompt(4), max_tokens=50), sink)
        assert sink.wait().reason is FinishReason.ABORTED
    assert len(sink.tokens) == 1


def test_idle_engine_sleeps_and_wakes() -> None:
    executor = FakeExecutor()
    engine = make_engine(executor)
    with running(engine):
        engine.start()  # a second start does nothing
        for name in "abc":
            sink = Collector()
            engine.submit(make_request(name, prompt(4, ord(name)), max_tokens=3), sink)
            sink.wait()
            assert executor.steps == 3 * (ord(name) - ord("a") + 1)
        # Asleep in `wait`, the loop does not pass through here again.
        passes: list[bool] = []
        real = engine._take_inbox
        engine._take_inbox = lambda: passes.append(True) or real()  # type: ignore
        time.sleep(0.05)
        assert passes == []


def test_stats() -> None:
    executor = GatedExecutor(max_batch=1)
    engine = make_engine(executor)
    assert not engine.stats().alive
    with running(engine):
        idle = engine.stats()
        assert idle.alive
        assert idle.stalled_seconds(idle.last_step_at + 100) == 0.0
        sinks = [Collector(), Collector()]
        for index, sink in enumerate(sinks):
            engine.submit(make_request(f"r{index}", prompt(9), max_tokens=2), sink)
        executor.wait_until_entered()
        stats = engine.stats()
        assert (stats.running, stats.waiting) == (1, 1)
        assert stats.last_step_at > idle.last_step_at
        assert stats.stalled_seconds(stats.last_step_at + 100) == pytest.approx(100)
        assert stats.kv_blocks_used == 3
        assert stats.kv_usage == 3 / 16
        executor.permit(10)
        for sink in sinks:
            sink.wait()
        wait_for(lambda: engine.stats().running == 0)
        stats = engine.stats()
    assert (stats.steps, stats.failed_steps) == (4, 0)
    assert (stats.prompt_tokens, stats.generated_tokens) == (18, 4)
    assert (stats.prefix_queried_tokens, stats.prefix_hit_tokens) == (18, 8)
    assert stats.kv_blocks_cached == 2
    assert stats.finished_length == 2
    assert sinks[1].wait().cached_tokens == 8


def test_outputs_do_not_depend_on_company() -> None:
    requests = [make_request(f"r{index}", prompt(9, index % 2)) for index in range(6)]
    engine = make_engine(FakeExecutor(num_blocks=9, max_batched_tokens=7, max_batch=4))
    sinks = [Collector() for _ in requests]
    with running(engine):
        for request, sink in zip(requests, sinks, strict=True):
            engine.submit(request, sink)
        for request, sink in zip(requests, sinks, strict=True):
            sink.wait()
            assert sink.tokens == expected(request)
