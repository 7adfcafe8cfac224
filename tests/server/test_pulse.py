from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

from ftllm.server.health import live_problem
from ftllm.server.pulse import BEAT_SECONDS, BREAK_SECONDS, Pulse

from .fake_engine import FakeEngine


def test_nothing_is_a_break_before_the_first_beat() -> None:
    assert Pulse().awake_since(1e9) == -math.inf


def test_steady_beats() -> None:
    pulse = Pulse()
    for second in range(100):
        pulse.beat(second * BEAT_SECONDS)
        assert pulse.awake_since((second + 0.5) * BEAT_SECONDS) == -math.inf


def test_a_break_is_noticed_by_the_beat_or_by_who_asks() -> None:
    for asks_first in (False, True):
        pulse = Pulse()
        pulse.beat(10.0)
        woke = 10.0 + BREAK_SECONDS + 1
        if not asks_first:
            pulse.beat(woke)
        assert pulse.awake_since(woke) == woke
        pulse.beat(woke + BEAT_SECONDS)
        assert pulse.awake_since(woke + 2 * BEAT_SECONDS) == woke


def test_a_hang_counts_from_the_waking(engine: FakeEngine) -> None:
    stalled = replace(engine.stats(), running=1, last_step_at=0.0)
    assert live_problem(stalled, 100.0, stall_timeout=60) is not None
    assert live_problem(stalled, 100.0, stall_timeout=60, awake_since=99.0) is None
    assert live_problem(stalled, 160.0, stall_timeout=60, awake_since=99.0) is not None


def test_it_beats_while_the_block_runs() -> None:
    async def scenario() -> None:
        pulse = Pulse()
        async with pulse.beating():
            await asyncio.sleep(0)
            now = time.monotonic()
            assert pulse.awake_since(now) == -math.inf
            later = now + BREAK_SECONDS + 1
            assert pulse.awake_since(later) == later

    asyncio.run(scenario())
