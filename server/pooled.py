"""Runs the pooled sequences of one HTTP request, some at a time."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ftllm.engine.pooling import PoolingParams
from ftllm.engine.request import FinishedEvent, FinishReason, Request
from ftllm.errors import EngineStoppedError, QueueFullError
from ftllm.server.bridge import EngineBridge, Mailbox
from ftllm.server.errors import EngineFailureError, expired_error

WINDOW = 64  # sequences of one request that are in the engine at a time: others need room, too


@dataclass(frozen=True, slots=True)
class PooledResult:
    """What each prompt gave, in order, and the tokens of all."""

    values: Sequence[Sequence[float]]
    prompt_tokens: int

    def usage(self) -> dict[str, object]:
        """OpenAI's usage object of an embedding request."""
        return {"prompt_tokens": self.prompt_tokens, "total_tokens": self.prompt_tokens}


class PooledRun:
    """Whoever holds it must await `collect`, which closes it. `close` may come at any time."""

    def __init__(
        self, bridge: EngineBridge, prompts: Sequence[tuple[int, ...]], params: PoolingParams
    ) -> None:
        self._bridge = bridge
        self._mailbox = Mailbox()
        prefix = uuid.uuid4().hex
        self._requests = [
            Request(request_id=f"pool-{prefix}-{place}", prompt_ids=ids, pooling=params)
            for place, ids in enumerate(prompts)
        ]
        self._waiting = deque(range(len(prompts)))
        self._live: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None  # None: it may take as long as it likes

    async def collect(self) -> PooledResult:
        """Raises what `Engine.submit` raises, `RefusedError`, `EngineFailureError`,
        `EngineStoppedError`, or `ClientDisconnectedError` after `close`; then nothing of this
        request is left running."""
        values: list[Sequence[float]] = [()] * len(self._requests)
        tokens = sum(len(request.prompt_ids) for request in self._requests)
        try:
            with self._bridge.reserving(prompt=tokens, answer=0):
                self._submit_what_fits()
            self._timer = self._bridge.limit_time(self._mailbox, self._abort)
            while self._waiting or self._live:
                self._submit_what_fits()
                for place, events in await self._mailbox.take():
                    last = events[-1]
                    if isinstance(last, FinishedEvent):
                        self._live.discard(place)
                        values[place] = _values(last)
        finally:
            self.close()
        return PooledResult(values, tokens)

    def close(self) -> None:
        self._abort()
        self._live = set()
        self._mailbox.close()
        if self._timer is not None:
            self._timer.cancel()

    def _abort(self) -> None:
        for place in self._live:
            self._bridge.abort(self._requests[place].request_id)

    def _submit_what_fits(self) -> None:
        """A full queue refuses the request, or lets it wait for its own sequences to leave."""
        while self._waiting and len(self._live) < WINDOW:
            place = self._waiting[0]
            try:
                self._bridge.submit(self._requests[place], self._mailbox, place)
            except QueueFullError:
                if not self._live:
                    raise
                return
            self._waiting.popleft()
            self._live.add(place)


def _values(event: FinishedEvent) -> Sequence[float]:
    if event.reason is FinishReason.EXPIRED:
        raise expired_error(event)
    if event.reason is FinishReason.ERROR:
        raise EngineFailureError(event.error or "The engine gave no reason.")
    if event.reason is FinishReason.ABORTED or event.values is None:
        raise EngineStoppedError("The engine stopped before the answer was complete.")
    return event.values
