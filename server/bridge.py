"""Carries engine events from the engine's thread into asyncio.

The engine calls a sink per request and step. All sinks append to one deque, and only the first of
a step wakes the event loop: 64 streams cost one wake-up, not 64.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from ftllm.engine.request import Event, Request
from ftllm.server.errors import ClientDisconnectedError
from ftllm.server.model import EngineClient

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


class EngineBridge:
    """Submits requests and routes their events to mailboxes."""

    def __init__(self, engine: EngineClient) -> None:
        self._engine = engine
        self._inbox: deque[tuple[Mailbox, int, list[Event]]] = deque()
        self._wake_pending = False

    def submit(self, request: Request, mailbox: Mailbox, index: int) -> None:
        """Call on the event loop. Raises what `Engine.submit` raises."""
        loop = asyncio.get_running_loop()
        self._engine.submit(request, partial(self._receive, loop, mailbox, index))

    def abort(self, request_id: str) -> None:
        self._engine.abort(request_id)

    def _receive(
        self, loop: asyncio.AbstractEventLoop, mailbox: Mailbox, index: int, events: list[Event]
    ) -> None:
        """Runs on the engine's thread. Appending before looking at the flag, and `_deliver`
        clearing the flag before it empties the deque, is what makes a lost wake-up impossible."""
        self._inbox.append((mailbox, index, events))
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
            mailbox, index, events = inbox.popleft()
            mailbox.put(index, events)
