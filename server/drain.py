"""Winding down: new requests are refused, running ones finish, and the rest is told so."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ftllm.server.errors import ErrorReply, error_response
from ftllm.server.in_flight import InFlight
from ftllm.server.metrics.request_metrics import RequestMetrics
from ftllm.server.model import EngineClient

DRAINED: Final = 0  # exit codes: every request has had its answer
TIMED_OUT: Final = 4  # some were ended when the time for them was up
BY_SIGNAL: Final = 128  # plus the number of the second signal, as shells count

POLL_SECONDS: Final = 0.05
LAST_WORDS_SECONDS: Final = 5.0  # for the terminal events of requests that are ended
HURRIED_SECONDS: Final = 1.0  # the same after a second signal
MAX_RETRY_AFTER: Final = 60  # seconds

server_log = logging.getLogger("ftllm.server")


class Drain:
    """Whether the server winds down, and how it ended. A signal's handler may begin it."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout  # seconds that running requests get
        self._deadline = math.inf  # of `time.monotonic()`
        self._second_signal: int | None = None
        self.exit_code = DRAINED

    def on_signal(self, number: int) -> None:
        """The first one begins, the second one hurries."""
        if not self.draining:
            self._deadline = time.monotonic() + self._timeout
        elif self._second_signal is None:
            self._second_signal = number

    @property
    def draining(self) -> bool:
        return self._deadline < math.inf

    @property
    def hurried(self) -> bool:
        return self._second_signal is not None

    @property
    def retry_after(self) -> int:
        """Seconds, at least 1: when this server is gone, and another may stand in its place."""
        remaining = self._deadline - time.monotonic()
        return max(1, math.ceil(min(remaining, MAX_RETRY_AFTER)))

    async def wind_down(self, in_flight: InFlight, engine: EngineClient) -> None:
        """Returns when no request is left, or when nothing more can be done for them."""
        server_log.info("shutting down; %d requests are being answered", in_flight.count)
        while in_flight.count and not self.hurried and time.monotonic() < self._deadline:
            await asyncio.sleep(POLL_SECONDS)
        if not in_flight.count:
            return
        self.exit_code = TIMED_OUT if not self.hurried else BY_SIGNAL + (self._second_signal or 0)
        cause = "a second signal came" if self.hurried else f"{self._timeout:g} s are over"
        server_log.warning("%s: %d requests are ended", cause, in_flight.count)
        ended_at = time.monotonic()
        while in_flight.count:
            engine.abort_all()  # each time: a prompt that was being read may have arrived since
            patience = HURRIED_SECONDS if self.hurried else LAST_WORDS_SECONDS
            if time.monotonic() >= ended_at + patience:
                return
            await asyncio.sleep(POLL_SECONDS)


class DrainGate:
    """ASGI middleware: while the server winds down, work gets a 503. Looking at the server, and
    what its administrators do, stays possible."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        drain: Drain,
        metrics: RequestMetrics,
        admin_paths: Collection[str],
    ) -> None:
        self._app = app
        self._drain = drain
        self._metrics = metrics
        self._admin_paths = frozenset(admin_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not (self._drain.draining and scope["type"] == "http" and self._is_work(scope)):
            await self._app(scope, receive, send)
            return
        self._metrics.reject("draining")
        retry_after = self._drain.retry_after
        reply = ErrorReply(
            503,
            "The server is shutting down and takes no new requests. Send it to another server, or"
            f" try again in {retry_after} s.",
            "draining",
            headers={"Retry-After": str(retry_after), "Connection": "close"},
        )
        await error_response(reply, path=scope["path"])(scope, receive, send)

    def _is_work(self, scope: Scope) -> bool:
        return scope["method"] == "POST" and scope["path"] not in self._admin_paths
