"""Carries engine events from the engine's thread into asyncio.

The engine calls a sink per request and step. All sinks append to one deque, and only the first of
a step wakes the event loop: 64 streams cost one wake-up, not 64.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial

from ftllm.engine.request import Event, FinishedEvent, Request
from ftllm.errors import EngineStoppedError, QueueFullError
from ftllm.server.errors import ClientDisconnectedError
from ftllm.server.metrics.request_metrics import RequestMetrics, RequestWatch
from ftllm.server.model import EngineClient
from ftllm.server.request_context import current_request

Batch = list[tuple[int, list[Event]]]
"""Events, each list with the index of the sequence that they belong to."""


class Mailbox:
    """Events of one HTTP request's sequences. One consumer; lives on the event loop."""

    def __init__(self) -> None:
        self._batch: Batch = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, index: int, events: list[Event]) -> None:
        self._batch.append((index, events))
        self._wake()

    def close(self) -> None:
        """The consumer's next `take` raises `ClientDisconnectedError`."""
        self._closed = True
        self._wake()

    async def take(self) -> Batch:
        """Everything that has arrived, at least one item. A slow consumer gets larger batches."""
        while not self._batch and not self._closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._closed:
            raise ClientDisconnectedError("The client closed the connection.")
        batch, self._batch = self._batch, []
        return batch

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Sequence:
    """One that the engine runs, as the event loop knows it."""

    __slots__ = ("index", "mailbox", "request_id", "stopped", "watch")

    def __init__(self, request_id: str, mailbox: Mailbox, index: int, watch: RequestWatch) -> None:
        self.request_id = request_id
        self.mailbox = mailbox
        self.index = index  # in the mailbox
        self.watch = watch
        self.stopped = False  # its answer is complete, whatever still comes


class EngineBridge:
    """Submits requests, routes their events to mailboxes, and times them."""

    def __init__(self, engine: EngineClient, metrics: RequestMetrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._live: dict[str, Sequence] = {}
        self._inbox: deque[tuple[Sequence, list[Event], float]] = deque()
        self._wake_pending = False

    def submit(self, request: Request, mailbox: Mailbox, index: int) -> None:
        """Call on the event loop. Raises what `Engine.submit` raises."""
        loop = asyncio.get_running_loop()
        context = current_request()
        watch = self._metrics.watch(context)
        sequence = Sequence(request.request_id, mailbox, index, watch)
        refusal: str | None = None
        try:
            self._engine.submit(request, partial(self._receive, loop, sequence))
        except QueueFullError:
            refusal = "queue_full"
            raise
        except EngineStoppedError:
            refusal = "engine_stopped"
            raise
        finally:
            if context is not None:
                context.refusal = refusal
        self._live[request.request_id] = sequence

    def abort(self, request_id: str) -> None:
        """Nobody wants the answer any more."""
        self._engine.abort(request_id)

    def stop(self, request_id: str) -> None:
        """The answer is complete: what the sequence would still bring is no part of it."""
        if (sequence := self._live.get(request_id)) is not None:
            sequence.stopped = True
        self._engine.abort(request_id)

    def _receive(
        self, loop: asyncio.AbstractEventLoop, sequence: Sequence, events: list[Event]
    ) -> None:
        """Runs on the engine's thread. Appending before looking at the flag, and `_deliver`
        clearing the flag before it empties the deque, is what makes a lost wake-up impossible."""
        self._inbox.append((sequence, events, time.monotonic()))
        if self._wake_pending:
            return
        self._wake_pending = True
        try:
            loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody is left to read
            self._wake_pending = False
            self._inbox.clear()

    def _deliver(self) -> None:
        self._wake_pending = False
        inbox = self._inbox
        while inbox:
            sequence, events, at = inbox.popleft()
            sequence.watch.observe(events, at, stopped=sequence.stopped)
            if isinstance(events[-1], FinishedEvent):
                self._live.pop(sequence.request_id, None)
            sequence.mailbox.put(sequence.index, events)
        self._metrics.add_steps(self._engine.take_step_times())
