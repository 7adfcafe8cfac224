"""An engine that answers from a script, on a thread of its own, one token per request and step."""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ftllm.engine.pooling import TokenScoresParams
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    Sink,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.engine.stats import EngineStats
from ftllm.engine.step_log import StepTime, StepTimes
from ftllm.errors import EngineStoppedError

Script = Callable[[Request], Sequence[int]]
EMBEDDING_SIZE = 8
RETRY_AFTER = 7  # seconds, what an expired request is told
CACHED_TOKENS = 3  # what every FinishedEvent claims


@dataclass(slots=True)
class _Live:
    request: Request
    sink: Sink
    script: list[int]
    sent: int = 0
    prefilled: bool = False
    submitted_at: float = field(default_factory=time.monotonic)


def logprobs_of(token_id: int, top: int, chosen: float = -0.5) -> TokenLogprobs:
    """The chosen token at -0.5, then its successors at -1.5, -2.5 …"""
    likely = tuple((token_id + place, chosen - place) for place in range(top))
    return TokenLogprobs(token_id, chosen, likely, 1)


def pooled_values(request: Request) -> tuple[float, ...]:
    """How often each remainder by EMBEDDING_SIZE occurs among the prompt's ids, as a unit vector.
    The first of scored tokens is the likelier the more ids are even."""
    ids = request.prompt_ids
    if isinstance(request.pooling, TokenScoresParams):
        even = sum(token_id % 2 == 0 for token_id in ids)
        return tuple(-1.0 - place * even for place in range(len(request.pooling.token_ids)))
    assert request.pooling is not None
    counts = [sum(token_id % EMBEDDING_SIZE == rest for token_id in ids) for rest in range(8)]
    kept = counts[: request.pooling.dimensions]
    length = math.sqrt(sum(count * count for count in kept)) or 1.0
    return tuple(array("f", [count / length for count in kept]))


class FakeEngine:
    """`script(request)` gives the tokens of an answer; it ends at a stop id, at max_tokens, or at
    the script's end. `go` can be cleared to hold the engine before its next step."""

    def __init__(self, script: Script, *, step_seconds: float = 0.0) -> None:
        self.script = script
        self.step_seconds = step_seconds
        self.go = threading.Event()
        self.go.set()
        self.refuse: Exception | None = None  # raised by submits from number refuse_from on
        self.refuse_from = 0
        self.fail_after: int | None = None  # tokens, then an event of `fails_with`
        self.fails_with = FinishReason.ERROR
        self.error_text = "secret: kernel 7 fell over"
        self.alive = True
        self.failed_in_row = 0  # steps, as its statistics say
        self.last_step_at = time.monotonic()
        self.requests: list[Request] = []
        self.logprob_of: Callable[[int], float] = lambda _: -0.5  # of the token that it says
        self.drafts = (0, 0)  # tokens drafted and accepted, as its answers claim
        self.aborted: list[str] = []
        self.cache_resets = 0
        self.steps = 0
        self.step_times: list[StepTime] = []
        self.mask_seconds: list[float] = []
        self.prompt_tokens = 0
        self.generated_tokens = 0
        self.max_live = 0  # what its statistics say
        self.queue_seconds = 0.0  # what its answers claim
        self.shut_down = False
        self._live: dict[str, _Live] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        with self._changed:
            self.shut_down = True
            self._changed.notify()
        self.go.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            assert not self._thread.is_alive()
        for live in list(self._live.values()):
            self._finish(live, FinishReason.ABORTED, [])

    def submit(self, request: Request, sink: Sink) -> None:
        if self.shut_down:
            raise EngineStoppedError("stopped")
        if self.refuse is not None and len(self.requests) >= self.refuse_from:
            raise self.refuse
        with self._changed:
            assert request.request_id not in self._live, "ids are unique"
            self.requests.append(request)
            script = list(self.script(request))
            self._live[request.request_id] = _Live(request, sink, script)
            self._changed.notify()

    def abort(self, request_id: str) -> None:
        with self._changed:
            self.aborted.append(request_id)
            self._changed.notify()

    def abort_all(self) -> int:
        with self._changed:
            live = list(self._live)
            self.aborted += live
            self._changed.notify()
        return len(live)

    def reset_prefix_cache(self) -> None:
        self.cache_resets += 1

    def take_step_times(self) -> StepTimes:
        steps, self.step_times = self.step_times, []
        masks, self.mask_seconds = self.mask_seconds, []
        return StepTimes(steps, masks)

    def stats(self) -> EngineStats:
        live = len(self._live)
        return EngineStats(
            alive=self.alive,
            running=live,
            waiting=0,
            kv_blocks=100,
            kv_blocks_used=live,
            kv_blocks_cached=0,
            prefix_queried_tokens=0,
            prefix_hit_tokens=0,
            preemptions=0,
            steps=self.steps,
            failed_steps=0,
            failed_in_row=self.failed_in_row,
            prompt_tokens=self.prompt_tokens,
            generated_tokens=self.generated_tokens,
            finished_stop=0,
            finished_length=0,
            finished_aborted=0,
            finished_error=0,
            rejected=0,
            last_step_at=self.last_step_at,
            max_live=self.max_live,
        )

    @property
    def live(self) -> int:
        return len(self._live)

    def wait_idle(self, seconds: float = 5.0) -> bool:
        """True once nothing is live."""
        deadline = time.monotonic() + seconds
        while self._live and time.monotonic() < deadline:
            time.sleep(0.002)
        return not self._live

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self.shut_down and not self._live:
                    self._changed.wait()
            while not self.go.wait(0.002):
                self._expire()
            if self.shut_down:
                return
            self._step()
            if self.step_seconds:
                time.sleep(self.step_seconds)

    def _step(self) -> None:
        self.steps += 1
        self.last_step_at = time.monotonic()
        self.step_times.append(StepTime(self.step_seconds, len(self._live)))
        for live in list(self._live.values()):
            request_id = live.request.request_id
            if request_id in self.aborted:
                self._finish(live, FinishReason.ABORTED, [])
            elif self.fail_after is not None and live.sent >= self.fail_after:
                self._finish(live, self.fails_with, [], error=self.error_text)
            else:
                self._advance(live)

    def _expire(self) -> None:
        now = time.monotonic()
        for live in list(self._live.values()):
            timeout = live.request.queue_timeout
            if timeout is not None and not live.prefilled and now > live.submitted_at + timeout:
                self._finish(live, FinishReason.EXPIRED, [], error=f"It waited {timeout:g} s.")

    def _advance(self, live: _Live) -> None:
        if live.request.pooling is not None:
            live.prefilled = True
            self._finish(live, FinishReason.STOP, [], values=pooled_values(live.request))
            return
        params = live.request.params
        events: list[Event] = []
        if not live.prefilled and params.prompt_logprobs is not None:
            ids = live.request.prompt_ids
            known = [logprobs_of(token_id, params.prompt_logprobs) for token_id in ids[1:]]
            events.append(PromptLogprobsEvent(live.request.request_id, (None, *known)))
        if not live.prefilled:
            self.prompt_tokens += len(live.request.prompt_ids)
        live.prefilled = True
        if not live.script:
            self._finish(live, FinishReason.STOP, events)
            return
        token_id = live.script.pop(0)
        live.sent += 1
        self.generated_tokens += 1
        logprobs = None
        if params.logprobs is not None:
            logprobs = (logprobs_of(token_id, params.logprobs, self.logprob_of(token_id)),)
        events.append(TokensEvent(live.request.request_id, (token_id,), logprobs))
        if token_id in params.stop_token_ids and live.sent > params.min_tokens:
            self._finish(live, FinishReason.STOP, events)
        elif live.sent == params.max_tokens:
            self._finish(live, FinishReason.LENGTH, events)
        else:
            live.sink(events)

    def _finish(
        self,
        live: _Live,
        reason: FinishReason,
        events: list[Event],
        error: str | None = None,
        values: tuple[float, ...] | None = None,
    ) -> None:
        del self._live[live.request.request_id]
        events.append(
            FinishedEvent(
                request_id=live.request.request_id,
                reason=reason,
                prompt_tokens=len(live.request.prompt_ids),
                cached_tokens=CACHED_TOKENS,
                output_tokens=live.sent,
                error=error,
                drafted_tokens=self.drafts[0],
                accepted_tokens=self.drafts[1],
                values=values,
                queue_seconds=self.queue_seconds if live.prefilled else None,
                retry_after=RETRY_AFTER if reason is FinishReason.EXPIRED else None,
            )
        )
        live.sink(events)
