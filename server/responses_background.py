"""Responses that are made while nobody has to wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from ftllm.server.event_log import EventLog
from ftllm.server.request_context import current_request


@dataclass(frozen=True, slots=True)
class _Work:
    task: asyncio.Task[None]
    stop: Callable[[], None]
    log: EventLog | None


class BackgroundResponses:
    """Keeps their tasks. Used on the event loop alone."""

    def __init__(self) -> None:
        self._running: dict[str, _Work] = {}

    def start(
        self,
        response_id: str,
        work: Coroutine[None, None, None],
        stop: Callable[[], None],
        log: EventLog | None = None,
    ) -> None:
        """`work` must not raise; `stop` makes it end early; it writes its events to `log`. The
        current request's key has one request more running until it ends."""
        task = asyncio.create_task(work)
        self._running[response_id] = _Work(task, stop, log)
        task.add_done_callback(lambda _: self._running.pop(response_id, None))
        context = current_request()
        if context is not None and (admission := context.admission) is not None:
            admission.hold()
            task.add_done_callback(lambda _: admission.leave())

    def log(self, response_id: str) -> EventLog | None:
        """The events of one that runs."""
        work = self._running.get(response_id)
        return None if work is None else work.log

    async def cancel(self, response_id: str) -> None:
        """Returns when the response has ended, if it was running."""
        work = self._running.get(response_id)
        if work is not None:
            work.stop()
            await asyncio.wait([work.task])

    async def close(self) -> None:
        """Ends all, and returns when they have been kept as they are."""
        for response_id in list(self._running):
            await self.cancel(response_id)
