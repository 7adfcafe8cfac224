from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import Event, Request, Sink, TokensEvent
from ftllm.engine.stats import EngineStats
from ftllm.engine.step_log import StepTimes
from ftllm.server.bridge import EngineBridge, Mailbox
from ftllm.server.errors import ClientDisconnectedError, SlowReaderError
from ftllm.server.metrics.request_metrics import RequestMetrics


class ManualEngine:
    """Keeps the sinks, so that a test plays the engine's thread."""

    def __init__(self) -> None:
        self.sinks: dict[str, Sink] = {}
        self.aborted: list[str] = []

    def start(self) -> None: ...

    def shutdown(self) -> None: ...

    def submit(self, request: Request, sink: Sink) -> None:
        self.sinks[request.request_id] = sink

    def abort(self, request_id: str) -> None:
        self.aborted.append(request_id)

    def stats(self) -> EngineStats:
        raise AssertionError("nobody asks")

    def take_step_times(self) -> StepTimes:
        return StepTimes((), ())


def request(name: str) -> Request:
    return Request(request_id=name, prompt_ids=(1,), params=SamplingParams())


def tokens(name: str, *ids: int) -> list[Event]:
    return [TokensEvent(name, ids, None)]


def test_a_step_of_64_requests_wakes_the_loop_once() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        engine = ManualEngine()
        bridge = EngineBridge(engine, RequestMetrics(max_model_len=100))
        boxes = [Mailbox() for _ in range(64)]
        for number, box in enumerate(boxes):
            bridge.submit(request(f"r{number}"), box, number)
        wakeups = 0
        wake: Callable[..., asyncio.Handle] = loop.call_soon_threadsafe

        def counted(callback: Callable[[], None]) -> asyncio.Handle:
            nonlocal wakeups
            wakeups += 1
            return wake(callback)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]

        def step() -> None:
            for number in range(64):
                engine.sinks[f"r{number}"](tokens(f"r{number}", number))

        step()  # the loop is busy here, as it is while it serves others
        batches = await asyncio.gather(*(box.take() for box in boxes))
        assert wakeups == 1
        assert [batch[0][0] for batch in batches] == list(range(64))
        step()
        await asyncio.gather(*(box.take() for box in boxes))
        assert wakeups == 2

    asyncio.run(scenario())


def test_no_event_is_lost_between_threads() -> None:
    async def scenario() -> None:
        engine = ManualEngine()
        bridge = EngineBridge(engine, RequestMetrics(max_model_len=100))
        box = Mailbox(limit=20_000)
        bridge.submit(request("r"), box, 0)

        def produce() -> None:
            for number in range(20_000):
                engine.sinks["r"](tokens("r", number))

        producer = asyncio.create_task(asyncio.to_thread(produce))
        seen: list[int] = []
        while len(seen) < 20_000:
            for _, events in await asyncio.wait_for(box.take(), 10):
                seen += [event.token_ids[0] for event in events if isinstance(event, TokensEvent)]
        await producer
        assert seen == list(range(20_000))

    asyncio.run(scenario())


def test_a_slow_reader_gets_everything_at_once() -> None:
    async def scenario() -> None:
        box = Mailbox()
        for number in range(3):
            box.put(number, tokens("r", number))
        assert [index for index, _ in await box.take()] == [0, 1, 2]

    asyncio.run(scenario())


def test_a_reader_too_far_behind_gets_what_there_was_and_then_an_error() -> None:
    async def scenario() -> None:
        engine = ManualEngine()
        bridge = EngineBridge(engine, RequestMetrics(max_model_len=100))
        box = Mailbox(limit=3)
        bridge.submit(request("r"), box, 0)
        for number in range(3):
            engine.sinks["r"](tokens("r", number))
        await asyncio.sleep(0)
        assert engine.aborted == []
        engine.sinks["r"](tokens("r", 3))
        await asyncio.sleep(0)
        assert engine.aborted == ["r"]
        assert len(await box.take()) == 3
        engine.sinks["r"](tokens("r", 4))
        with pytest.raises(SlowReaderError):
            await box.take()

    asyncio.run(scenario())


def test_a_reader_that_waits_is_not_slow() -> None:
    """However many events come before the loop lets it run."""

    async def scenario() -> None:
        box = Mailbox(limit=3)
        reader = asyncio.create_task(box.take())
        await asyncio.sleep(0)
        for number in range(10):
            assert box.put(number, tokens("r", number))
        assert len(await reader) == 10

    asyncio.run(scenario())


def test_closing_a_mailbox_wakes_its_reader() -> None:
    async def scenario() -> None:
        box = Mailbox()
        reader = asyncio.create_task(box.take())
        await asyncio.sleep(0)
        box.close()
        with pytest.raises(ClientDisconnectedError):
            await reader

    asyncio.run(scenario())


def test_events_after_the_loop_is_gone_are_harmless() -> None:
    engine = ManualEngine()
    bridge = EngineBridge(engine, RequestMetrics(max_model_len=100))

    async def scenario(name: str) -> None:
        bridge.submit(request(name), Mailbox(), 0)

    asyncio.run(scenario("old"))
    engine.sinks["old"](tokens("old", 1))

    async def again() -> None:
        box = Mailbox()
        bridge.submit(request("new"), box, 0)
        engine.sinks["new"](tokens("new", 2))
        assert await box.take() == [(0, tokens("new", 2))]

    asyncio.run(again())
