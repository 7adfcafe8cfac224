"""Judges the engine: would a restart help, and should it get requests?"""

from __future__ import annotations

import math
from typing import Final

from ftllm.engine.stats import EngineStats

MAX_FAILED_IN_ROW: Final = 3  # steps; one bad request fails one, a broken engine fails all


def live_problem(
    stats: EngineStats, now: float, *, stall_timeout: float, awake_since: float = -math.inf
) -> str | None:
    """Why only a restart can help, if so; `now` is `time.monotonic()`. An idle engine is fine.

    `awake_since`: before that the whole process was suspended, which is not the engine's fault.
    """
    if not stats.alive:
        return "The engine has stopped."
    if stats.failed_in_row >= MAX_FAILED_IN_ROW:
        return f"The engine's last {stats.failed_in_row} steps failed; the log has the reasons."
    stalled = min(stats.stalled_seconds(now), now - awake_since)
    if stalled > stall_timeout:
        return f"The engine has work, but has finished no step for {stalled:.0f} s."
    return None


def ready_problem(
    stats: EngineStats,
    now: float,
    *,
    stall_timeout: float,
    draining: bool,
    awake_since: float = -math.inf,
) -> str | None:
    """Why requests should go elsewhere, if so."""
    if draining:
        return "The server is shutting down."
    problem = live_problem(stats, now, stall_timeout=stall_timeout, awake_since=awake_since)
    if problem is None and stats.full:
        return f"The queue is full: {stats.running} requests run and {stats.waiting} wait."
    return problem
