"""Carries engine events from the engine's thread into asyncio.

The engine calls a sink per request and step. All sinks append to one deque, and only the first of
a step wakes the event loop: 64 streams cost one wake-up, not 64.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request, TokensEvent
from ftllm.errors import EngineStoppedError, QueueFullError
from ftllm.server.errors import (
    ClientDisconnectedError,
    SlowReaderError,
    request_timeout_error,
)
from ftllm.server.key_account import Admission, KeyRefusalError
from ftllm.server.metrics.request_metrics import RequestMetrics, RequestWatch
from ftllm.server.model import EngineClient
from ftllm.server.request_context import RequestContext, current_request
from ftllm.server.request_limits import DEFAULT_LIMITS, RequestLimits

Batch = list[tuple[int, list[Event]]]
"""Events, each list with the index of the sequence that they belong to."""

MAX_BEHIND: Final = 4096  # steps whose events wait for a reader, beyond what the sockets hold


class Mailbox:
    """Events of one HTTP request's sequences. One consumer; lives on the event loop.

    `limit`: how many lists of events may wait while the consumer does something else. What comes
    after that is lost, and the consumer's last `take` raises `SlowReaderError`.
    """

    def __init__(self, limit: int = MAX_BEHIND) -> None:
        self._limit = limit
        self._full = False
        self._taking = False  # the consumer waits, or is about to run
        self._batch: Batch = []
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._failure: Exception | None = None

    def put(self, index: int, events: list[Event]) -> bool:
        """False: the consumer is too far behind, and gets no more."""
        self._full = self._full or (len(self._batch) >= self._limit and not self._taking)
        if not self._full:
            self._batch.append((index, events))
            self._wake()
        return not self._full

    def close(self) -> None:
        """The consumer's next `take` raises `ClientDisconnectedError`."""
        self._closed = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The consumer's next `take` raises it, whatever has arrived."""
        self._failure = error
        self._wake()

    async def take(self) -> Batch:
        """Everything that has arrived, at least one item. A slow consumer gets larger batches."""
        self._taking = True
        while not (self._batch or self._closed or self._full or self._failure is not None):
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._taking = False
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ClientDisconnectedError("The client closed the connection.")
        if not self._batch:
            raise SlowReaderError
        batch, self._batch = self._batch, []
        return batch

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Sequence:
    """One that the engine runs, as the event loop knows it."""

    __slots__ = ("context", "index", "mailbox", "request_id", "stopped", "watch")

    def __init__(
        self,
        request_id: str,
        mailbox: Mailbox,
        index: int,
        watch: RequestWatch,
        context: RequestContext | None,
    ) -> None:
        self.context = context  # of the HTTP request
        self.request_id = request_id
        self.mailbox = mailbox
        self.index = index  # in the mailbox
        self.watch = watch
        self.stopped = False  # its answer is complete, whatever still comes

    def note(self, events: list[Event]) -> None:
        """Charges the key for what was generated, and remembers why it was turned away."""
        context = self.context
        if context is None:
            return
        last = events[-1]
        if isinstance(last, FinishedEvent) and last.reason is FinishReason.EXPIRED:
            context.refusal = "queue_timeout"
        if context.admission is not None and not self.stopped:
            tokens = sum(len(each.token_ids) for each in events if isinstance(each, TokensEvent))
            context.admission.spend(tokens)


class EngineBridge:
    """Submits requests, routes their events to mailboxes, and times them."""

    def __init__(
        self,
        engine: EngineClient,
        metrics: RequestMetrics,
        limits: RequestLimits = DEFAULT_LIMITS,
    ) -> None:
        self._limits = limits
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
        sequence = Sequence(request.request_id, mailbox, index, watch, context)
        refusal: str | None = None
        try:
            self._engine.submit(
                self._ruled(request, context), partial(self._receive, loop, sequence)
            )
        except QueueFullError:
            refusal = "queue_full"
            raise
        except EngineStoppedError:
            refusal = "engine_stopped"
            raise
        finally:
            if context is not None:
                context.refusal = refusal
        if context is not None:
            context.count_prompt(request.prompt_ids)
            if context.span is not None:
                context.span.submit(request)
        self._live[request.request_id] = sequence

    @contextmanager
    def reserving(self, *, prompt: int, answer: int) -> Iterator[Admission | None]:
        """Holds the current request's key to its tokens a minute while the block submits that much.
        Raises `KeyRefusalError`; without such a limit it gives None."""
        context = current_request()
        admission = None if context is None else context.admission
        if context is None or admission is None:
            yield None
            return
        try:
            with admission.reserving(prompt=prompt, answer=answer):
                yield admission
        except KeyRefusalError as refusal:
            context.refusal = refusal.reason
            raise

    def limit_time(self, mailbox: Mailbox, abort: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Fails `mailbox` and calls `abort` when the current request has taken too long; whoever
        calls this cancels it at the end. None: it may take as long as it likes."""
        seconds, context = self._limits.request_timeout, current_request()
        if not seconds or context is None:
            return None

        def end() -> None:
            context.refusal = "request_timeout"
            mailbox.fail(request_timeout_error(seconds))
            abort()

        remaining = context.arrived_at + seconds - time.monotonic()
        return asyncio.get_running_loop().call_later(max(0.0, remaining), end)

    def _ruled(self, request: Request, context: RequestContext | None) -> Request:
        """Within what the server and the key allow. A request's own priority counts from its key's
        and can only put it back: lower runs first."""
        if self._limits.queue_timeout:
            request = replace(request, queue_timeout=self._limits.queue_timeout)
        if context is not None and context.api_key is not None:
            priority = context.api_key.priority + max(0, request.priority)
            request = replace(request, priority=priority)
        return request

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
            sequence.note(events)
            if isinstance(events[-1], FinishedEvent):
                self._live.pop(sequence.request_id, None)
            if not sequence.mailbox.put(sequence.index, events):
                self.abort(sequence.request_id)
        self._metrics.add_steps(self._engine.take_step_times())
