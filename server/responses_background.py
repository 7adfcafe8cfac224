"""Responses that are made while nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from ftllm.server.request_context import current_request


class BackgroundResponses:
    """Keeps their tasks. Used on the event loop alone."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[asyncio.Task[None], Callable[[], None]]] = {}

    def start(
        self, response_id: str, work: Coroutine[None, None, None], stop: Callable[[], None]
    ) -> None:
        """`work` must not raise; `stop` makes it end early. The current request's key has one
        request more running until then."""
        task = asyncio.create_task(work)
        self._running[response_id] = (task, stop)
        task.add_done_callback(lambda _: self._running.pop(response_id, None))
        context = current_request()
        if context is not None and (admission := context.admission) is not None:
            admission.hold()
            task.add_done_callback(lambda _: admission.leave())

    async def cancel(self, response_id: str) -> None:
        """Returns when the response has ended, if it was running."""
        task, stop = self._running.get(response_id, (None, None))
        if task is not None and stop is not None:
            stop()
            await asyncio.wait([task])

    def close(self) -> None:
        for _, stop in list(self._running.values()):
            stop()
