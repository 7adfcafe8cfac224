"""What is counted while requests run. Lives on the event loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from ftllm.engine.request import Event, FinishedEvent, FinishReason, TokensEvent
from ftllm.engine.step_log import StepTimes
from ftllm.server.metrics.buckets import (
    FIRST_TOKEN_SECONDS,
    GRAMMAR_SECONDS,
    REQUEST_SECONDS,
    STEP_SECONDS,
    STEP_TOKENS,
    TOKEN_SECONDS,
    one_two_five,
)
from ftllm.server.metrics.histogram import Histogram
from ftllm.server.metrics.sequence_times import SequenceTimes
from ftllm.server.request_context import RequestContext

_REASONS = {  # as vLLM calls them
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.ABORTED: "abort",
    FinishReason.EXPIRED: "abort",
    FinishReason.ERROR: "error",
    FinishReason.GRAMMAR: "error",
}
REJECTIONS = (
    "queue_full",
    "queue_timeout",
    "request_timeout",
    "requests_per_minute",
    "tokens_per_minute",
    "max_concurrency",
    "too_many_connections",
    "draining",
    "engine_stopped",
)


class RequestMetrics:
    """The histograms, and the counters that the engine's statistics do not have."""

    def __init__(self, *, max_model_len: int) -> None:
        tokens = one_two_five(max_model_len)
        self.first_token = Histogram(FIRST_TOKEN_SECONDS)
        self.inter_token = Histogram(TOKEN_SECONDS)
        self.per_output_token = Histogram(TOKEN_SECONDS)
        self.end_to_end = Histogram(REQUEST_SECONDS)
        self.queue = Histogram(REQUEST_SECONDS)
        self.prefill = Histogram(REQUEST_SECONDS)
        self.decode = Histogram(REQUEST_SECONDS)
        self.inference = Histogram(REQUEST_SECONDS)
        self.prompt_tokens = Histogram(tokens)
        self.generation_tokens = Histogram(tokens)
        self.step_tokens = Histogram(STEP_TOKENS)
        self.step_seconds = Histogram(STEP_SECONDS)
        self.mask_seconds = Histogram(GRAMMAR_SECONDS)
        self.grammar_compile = Histogram(GRAMMAR_SECONDS)
        self.finished = Counter(dict.fromkeys(_REASONS.values(), 0))
        self.rejected = Counter(dict.fromkeys(REJECTIONS, 0))
        self.key_prompt_tokens: Counter[str] = Counter()  # by the key's name
        self.key_generation_tokens: Counter[str] = Counter()

    def watch(self, context: RequestContext | None) -> RequestWatch:
        """Of a sequence that is about to be submitted for the request of `context`."""
        return RequestWatch(self, context)

    def reject(self, reason: str) -> None:
        """A request was turned away, for want of room or time rather than for what it asks."""
        self.rejected[reason] += 1

    def add_steps(self, times: StepTimes) -> None:
        for step in times.steps:
            self.step_seconds.observe(step.seconds)
            self.step_tokens.observe(step.tokens)
        for seconds in times.mask_seconds:
            self.mask_seconds.observe(seconds)

    def finish(
        self, reason: str, event: FinishedEvent, times: SequenceTimes, key_name: str | None
    ) -> None:
        self.finished[reason] += 1
        self.prompt_tokens.observe(event.prompt_tokens)
        self.generation_tokens.observe(event.output_tokens)
        if key_name is not None:
            self.key_prompt_tokens[key_name] += event.prompt_tokens
            self.key_generation_tokens[key_name] += event.output_tokens
        self.queue.observe(times.queue)
        if times.inference is not None:
            self.inference.observe(times.inference)
        if times.prefill is not None:
            self.prefill.observe(times.prefill)
        if times.decode is not None:
            self.decode.observe(times.decode)
            if event.output_tokens > 1:
                self.per_output_token.observe(times.decode / (event.output_tokens - 1))


class RequestWatch:
    """Times one sequence by its events. Times are seconds of `time.monotonic()`."""

    __slots__ = ("_arrived_at", "_context", "_first_at", "_last_at", "_metrics", "_submitted_at")

    def __init__(self, metrics: RequestMetrics, context: RequestContext | None) -> None:
        self._metrics = metrics
        self._context = context
        self._submitted_at = time.monotonic()
        self._arrived_at = self._submitted_at if context is None else context.arrived_at
        self._first_at: float | None = None  # of its tokens
        self._last_at = 0.0

    def observe(self, events: Sequence[Event], at: float, *, stopped: bool) -> None:
        """Events of one step, which came from the engine at the time `at`. `stopped`: its answer
        is complete, so that its abort is only the end of it."""
        for event in events:
            if isinstance(event, TokensEvent):
                if self._first_at is None:
                    self._first_at = at
                    self._metrics.first_token.observe(at - self._arrived_at)
                else:
                    self._metrics.inter_token.observe(at - self._last_at)
                self._last_at = at
                if self._context is not None:
                    self._context.output_tokens += len(event.token_ids)
            elif isinstance(event, FinishedEvent):
                self._finish(event, at, stopped=stopped)

    def _finish(self, event: FinishedEvent, at: float, *, stopped: bool) -> None:
        metrics, context = self._metrics, self._context
        aborted = event.reason is FinishReason.ABORTED
        reason = _REASONS[FinishReason.STOP if aborted and stopped else event.reason]
        queued = event.queue_seconds
        times = SequenceTimes(
            submitted_at=self._submitted_at,
            started_at=None if queued is None else self._submitted_at + queued,
            first_token_at=self._first_at,
            last_token_at=self._last_at,
            ended_at=at,
        )
        metrics.finish(reason, event, times, None if context is None else context.key_name)
        metrics.end_to_end.observe(at - self._arrived_at)
        if context is not None and context.span is not None:
            context.span.finish(event, reason, times)
