"""Clients that send slowly, too much at once, or over too many connections.

uvicorn bounds neither the headers of a request nor the time that a client takes to send it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from ftllm.server.connection_gate import CROWDED
from ftllm.server.errors import ErrorReply
from ftllm.server.json_text import encode_json
from ftllm.server.request_limits import RequestLimits
from ftllm.server.write_watch import WatchedProtocol

SPARE_CONNECTIONS: Final = 32  # beyond the limit: probes, and clients that are told to go
HEADER_MARKS: Final = 4  # bytes: a colon, a space and the end of the line
LAST_WORDS_SECONDS: Final = 1.0  # the app refuses a slow body itself; only then it is cut off

access_log = logging.getLogger("ftllm.access")


class SendWatch:
    """Of one connection: when its client must have sent what, and how much of headers it has sent.

    Whenever the connection neither answers nor idles between two requests, a timer runs."""

    def __init__(self, limits: RequestLimits, on_slow_headers: Callable[[], None]) -> None:
        self._limits = limits
        self._on_slow_headers = on_slow_headers
        self._timer: asyncio.TimerHandle | None = None
        self.in_headers = False
        self._header_bytes = 0

    @property
    def too_large(self) -> bool:
        return self._header_bytes > self._limits.max_header_bytes

    def expect_headers(self) -> None:
        """The time runs, unless it does already."""
        if self._timer is None and self._limits.header_timeout:
            self._start(self._limits.header_timeout, self._on_slow_headers)

    def begin(self) -> None:
        """The first byte of a request's headers is there."""
        self.in_headers = True
        self._header_bytes = 0
        self.expect_headers()

    def add(self, count: int) -> None:
        self._header_bytes += count

    def end_headers(self) -> None:
        self.in_headers = False
        self.stop()

    def expect_body(self, on_slow_body: Callable[[], None]) -> None:
        if self._timer is None and self._limits.body_timeout:
            self._start(self._limits.body_timeout + LAST_WORDS_SECONDS, on_slow_body)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, seconds: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timer = None
            act()

        self._timer = asyncio.get_running_loop().call_later(seconds, fire)


class LimitedProtocol(WatchedProtocol):
    """uvicorn's protocol within `limits`; see `limited_protocol`."""

    limits: RequestLimits

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._sending = SendWatch(self.limits, self._slow_headers)
        self._refused = False  # whatever else the client sends is not looked at
        self._in_message = False  # a request has begun and is not complete
        self._fresh = 0  # bytes of the packet, if a request can only begin at its start
        self._unparsed = 0  # bytes that may all belong to the headers that are being sent
        self._crowded = False  # the connection is one too many

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = self.limits.max_connections
        if most and len(self.connections) > most + SPARE_CONNECTIONS:
            transport.abort()
            return
        self._crowded = 0 < most < len(self.connections)
        self._sending.expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sending.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._fresh = 0 if self._in_message else len(data)
        self._unparsed += len(data)
        super().data_received(data)
        if self._refused or self.transport.is_closing():
            return
        # The parser tells of a header when it is complete, and of an endless one never.
        if self._sending.in_headers and self._unparsed > self.limits.max_header_bytes:
            self._refuse_headers()
        elif not self._is_answering and self.timeout_keep_alive_task is None:
            self._sending.expect_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._crowded:
            self.scope["state"][CROWDED] = True
        self._in_message = True
        self._unparsed, self._fresh = self._fresh, 0
        self._sending.begin()

    def on_url(self, url: bytes) -> None:
        self._sending.add(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._sending.add(len(name) + len(value) + HEADER_MARKS)
        if not self._sending.too_large:
            super().on_header(name, value)
        elif not self._sending.in_headers:  # they came after the body, in pieces
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._sending.end_headers()
        if self._refused:
            return
        if self._sending.too_large:
            self._refuse_headers()
            return
        follows = self._is_answering  # then nothing is read until the earlier answer is complete
        super().on_headers_complete()
        if not follows:
            self._sending.expect_body(self._slow_body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_answering and self.cycle.more_body:  # the next one, which had to wait
            self._sending.expect_body(self._slow_body)

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._sending.stop()
        if not self._refused:
            super().on_message_complete()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse_headers(self) -> None:
        limit = self.limits.max_header_bytes
        message = (
            f"The request's headers have more than {limit} bytes, this server's limit. Send less in"
            " them, and long texts in the body."
        )
        self._refuse(ErrorReply(431, message, "headers_too_large"))

    def _slow_headers(self) -> None:
        if not self._sending.in_headers:  # nothing was sent, so nobody waits for an answer
            self.transport.close()
            return
        message = (
            f"The request's headers were not complete after {self.limits.header_timeout:g} s, this"
            " server's limit. Send them faster."
        )
        self._refuse(ErrorReply(408, message, "header_timeout"))

    def _slow_body(self) -> None:
        """The app has had the time to say so."""
        self._refused = True
        self.transport.close()

    def _refuse(self, reply: ErrorReply) -> None:
        """Answers in place of the app, which has not heard of the request, and hangs up."""
        self._refused = True
        self._sending.stop()
        if self._is_answering:  # an earlier request of the connection, whose answer comes first
            self.cycle.keep_alive = False
            return
        access_log.info("- %d %s", reply.status, reply.code)
        body = encode_json(reply.body()).encode()
        head = (
            STATUS_LINE[reply.status]
            + b"content-type: application/json\r\nconnection: close\r\n"
            + f"content-length: {len(body)}\r\n\r\n".encode()
        )
        self.transport.write(head + body)
        self.transport.close()


def limited_protocol(limits: RequestLimits) -> type[LimitedProtocol]:
    """uvicorn makes the objects itself, so that a class has to carry the limits."""

    class BoundProtocol(LimitedProtocol):
        pass

    BoundProtocol.limits = limits
    BoundProtocol.send_timeout = limits.send_timeout
    return BoundProtocol
