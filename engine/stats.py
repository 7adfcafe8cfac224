"""What the engine reports about itself."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

MAX_RETRY_AFTER = 60  # seconds; a longer estimate says little


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot. Counters grow from 0 at start; times are `time.monotonic()` seconds."""

    alive: bool  # the loop takes requests
    running: int
    waiting: int
    kv_blocks: int
    kv_blocks_used: int  # referenced by running sequences
    kv_blocks_cached: int  # full blocks in the prefix cache, used or idle
    prefix_queried_tokens: int
    prefix_hit_tokens: int
    preemptions: int
    steps: int
    failed_steps: int
    prompt_tokens: int  # of requests whose prefill is complete, cached tokens included
    generated_tokens: int
    finished_stop: int
    finished_length: int
    finished_aborted: int
    finished_error: int
    rejected: int  # refused because the queue was full
    last_step_at: float  # end of the last step, or when work arrived at an idle engine
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that were right
    failed_in_row: int = 0  # steps that failed since the last one that did not
    max_live: int = 0  # requests that may run or wait; with so many the queue is full
    finished_expired: int = 0  # waited too long
    queued_tokens: int = 0  # of prompts that wait for their first step
    max_queue_tokens: int = 0  # that may wait so; 0 = any number

    @property
    def kv_usage(self) -> float:
        """Share of the KV blocks that running sequences hold, 0 to 1."""
        return self.kv_blocks_used / self.kv_blocks

    @property
    def full(self) -> bool:
        """The next request would be refused, however small it is."""
        if self.queued_tokens >= self.max_queue_tokens > 0:
            return True
        return self.running + self.waiting >= self.max_live > 0

    def stalled_seconds(self, now: float) -> float:
        """How long there has been work without a finished step; 0.0 when idle."""
        return max(0.0, now - self.last_step_at) if self.running or self.waiting else 0.0


class FinishRate:
    """How often a request has finished lately, to tell a refused client when to come back."""

    def __init__(self, window: int = 32) -> None:
        self._times: deque[float] = deque(maxlen=window)

    def add(self, now: float) -> None:
        self._times.append(now)

    def retry_after(self, now: float, *, places: int = 1) -> int:
        """Seconds in which the next `places` requests should finish, 1 to `MAX_RETRY_AFTER`."""
        if not self._times:
            return 1
        mean = (now - self._times[0]) / len(self._times)
        return min(max(1, math.ceil(mean * places)), MAX_RETRY_AFTER)
