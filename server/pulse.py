"""Since when the process has run without a break.

A process that was stopped (SIGSTOP, a frozen container, a suspended machine) finds on waking that
its last step ended long ago. That is no hang: what counts is the time since it woke.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

BEAT_SECONDS: Final = 1.0
BREAK_SECONDS: Final = 5.0  # between two beats: the process did not run


class Pulse:
    """Beats on the event loop. Times are `time.monotonic()`; before the first beat nothing counts
    as a break."""

    def __init__(self) -> None:
        self._last = math.inf
        self._awake_since = -math.inf

    def beat(self, now: float) -> None:
        if now - self._last > BREAK_SECONDS:
            self._awake_since = now
        self._last = now

    def awake_since(self, now: float) -> float:
        """The end of the last break; who asks may be the first to notice it."""
        if now - self._last > BREAK_SECONDS:
            self.beat(now)
        return self._awake_since

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beats while the block runs."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()

    async def _run(self) -> None:
        while True:
            self.beat(time.monotonic())
            await asyncio.sleep(BEAT_SECONDS)
