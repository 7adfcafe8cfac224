"""Runs many prompts through the engine without ever overfilling its queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue

from ftllm.engine.request import Event
from ftllm.errors import ContextLengthError, QueueFullError, RequestError
from ftllm.generation import Dispatcher, Generation, Job, request_output
from ftllm.outputs import RequestOutput
from ftllm.progress import ProgressTask

RETRY_SECONDS = 0.01  # while the queue is full of other callers' requests


class Batch:
    """Feeds jobs to the engine as room appears and collects their answers. Runs once."""

    def __init__(self, dispatcher: Dispatcher, jobs: Sequence[Job], task: ProgressTask) -> None:
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._task = task
        self._events: SimpleQueue[list[Event]] = SimpleQueue()
        self._waiting = deque(
            (number, choice) for number, job in enumerate(jobs) for choice in range(job.params.n)
        )
        self._live: dict[str, Generation] = {}
        self._generations: list[list[Generation]] = [[] for _ in jobs]

    def run(self) -> list[RequestOutput]:
        """Returns one output a job, in the jobs' order.

        The first failure is raised, and every other request of the batch aborted.
        """
        try:
            while self._waiting or self._live:
                self._submit_what_fits()
                if self._live:
                    self._take(self._events.get())
                else:
                    time.sleep(RETRY_SECONDS)
        finally:
            for generation in self._live.values():
                self._dispatcher.abort(generation)
        return [
            request_output(job, generations)
            for job, generations in zip(self._jobs, self._generations, strict=True)
        ]

    def _submit_what_fits(self) -> None:
        while self._waiting and len(self._live) < self._dispatcher.max_live:
            number, choice = self._waiting[0]
            try:
                generation = self._dispatcher.submit(self._jobs[number], choice, self._events.put)
            except QueueFullError:
                return
            except RequestError as error:
                if len(self._jobs) == 1:
                    raise
                raise located(error, number) from error
            self._waiting.popleft()
            self._live[generation.request_id] = generation
            self._generations[number].append(generation)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            generation = self._live[event.request_id]
            aborting = generation.to_abort
            generation.take(event)
            if generation.finished:
                del self._live[event.request_id]
                self._task.advance(1)
            elif generation.to_abort and not aborting:
                self._dispatcher.abort(generation)


def located(error: RequestError, number: int) -> RequestError:
    """`error` saying which prompt of several it is about."""
    message = f"Prompt {number}: {error}"
    if isinstance(error, ContextLengthError):
        return ContextLengthError(message, param=error.param)
    return RequestError(message, param=error.param, code=error.code)
