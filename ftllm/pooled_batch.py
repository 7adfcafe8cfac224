"""Runs requests that are answered by numbers through the engine, many at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from ftllm.batch import RETRY_SECONDS, located
from ftllm.engine.pooling import PoolingParams
from ftllm.engine.request import Event, FinishedEvent, FinishReason
from ftllm.errors import FtllmError, QueueFullError, RequestError
from ftllm.generation import Dispatcher
from ftllm.progress import ProgressTask


@dataclass(frozen=True, slots=True)
class PooledJob:
    """One text, as token ids, and what is asked of it."""

    prompt_ids: tuple[int, ...]
    params: PoolingParams


class PooledBatch:
    """Feeds jobs to the engine as room appears. Runs once."""

    def __init__(
        self, dispatcher: Dispatcher, jobs: Sequence[PooledJob], task: ProgressTask
    ) -> None:
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._task = task
        self._events: SimpleQueue[list[Event]] = SimpleQueue()
        self._waiting = deque(range(len(jobs)))
        self._live: dict[str, int] = {}

    def run(self) -> list[FinishedEvent]:
        """One event a job, in the jobs' order, each with its values.

        The first failure is raised, and every other request of the batch aborted.
        """
        results: dict[int, FinishedEvent] = {}
        try:
            while self._waiting or self._live:
                self._submit_what_fits()
                if not self._live:
                    time.sleep(RETRY_SECONDS)
                    continue
                for event in self._events.get():
                    if isinstance(event, FinishedEvent):
                        results[self._live.pop(event.request_id)] = _checked(event)
                        self._task.advance(1)
        finally:
            for request_id in self._live:
                self._dispatcher.abort_id(request_id)
        return [results[number] for number in range(len(self._jobs))]

    def _submit_what_fits(self) -> None:
        while self._waiting and len(self._live) < self._dispatcher.max_live:
            number = self._waiting[0]
            job = self._jobs[number]
            try:
                request_id = self._dispatcher.submit_pooled(
                    job.prompt_ids, job.params, self._events.put
                )
            except QueueFullError:
                return
            except RequestError as error:
                if len(self._jobs) == 1:
                    raise
                raise located(error, number) from error
            self._waiting.popleft()
            self._live[request_id] = number


def _checked(event: FinishedEvent) -> FinishedEvent:
    if event.reason is FinishReason.STOP:
        return event
    raise FtllmError(event.error or "The engine stopped before the answer was complete.")
