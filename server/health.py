"""Judges the engine: would a restart help, and should it get requests?"""

from __future__ import annotations

from ftllm.engine.stats import EngineStats


def live_problem(stats: EngineStats, now: float, *, stall_timeout: float) -> str | None:
    """Why only a restart can help, if so; `now` is `time.monotonic()`. An idle engine is fine."""
    if not stats.alive:
        return "The engine has stopped."
    stalled = stats.stalled_seconds(now)
    if stalled > stall_timeout:
        return f"The engine has work, but has finished no step for {stalled:.0f} s."
    return None


def ready_problem(
    stats: EngineStats, now: float, *, stall_timeout: float, draining: bool
) -> str | None:
    """Why requests should go elsewhere, if so."""
    if draining:
        return "The server is shutting down."
    problem = live_problem(stats, now, stall_timeout=stall_timeout)
    if problem is None and stats.full:
        return f"The queue is full: {stats.running} requests run and {stats.waiting} wait."
    return problem
