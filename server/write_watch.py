"""Cuts off clients that stop reading: what waits for them would be held for as long as they stay.

A stream to such a client is held back, and its answer ended when too much of it waits
(`Mailbox`). But the connection, and an answer that was written at once, would stay.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import termios
from contextlib import suppress
from typing import Any, Final

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# Bytes not yet sent that the system takes for a connection, which would else be megabytes.
# https://docs.kernel.org/networking/ip-sysctl.html, tcp_notsent_lowat
UNSENT_BYTES: Final = 128 * 1024
_TCP_NOTSENT_LOWAT: Final = 25  # Python's socket module has the name since 3.12

server_log = logging.getLogger("ftllm.server")


class WriteWatch:
    """Of one connection. Between `pause` and `resume` its buffer is full and nothing is added: a
    client that takes no byte of it for `timeout` seconds, at most twice that, is cut off."""

    def __init__(self, transport: asyncio.Transport, *, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._waiting = 0  # bytes
        self._timer: asyncio.TimerHandle | None = None

    def pause(self) -> None:
        if self._timeout and self._timer is None:
            self._waiting = _waiting_bytes(self._transport)
            self._schedule()

    def resume(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._timeout, self._look)

    def _look(self) -> None:
        before, self._waiting = self._waiting, _waiting_bytes(self._transport)
        if self._waiting < before:
            self._schedule()
            return
        self._timer = None
        server_log.warning(
            "a client has read nothing for %g s while %d bytes wait for it; it is cut off",
            self._timeout,
            self._waiting,
        )
        self._transport.abort()


def _waiting_bytes(transport: asyncio.Transport) -> int:
    """What the client has not acknowledged: in this process and in the socket."""
    waiting = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    try:
        queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))  # tcp(7): SIOCOUTQ
    except OSError:
        return waiting
    return waiting + int(struct.unpack("i", queued)[0])


class WatchedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a `WriteWatch` over each connection. A subclass has the limit."""

    send_timeout: float

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._writing: WriteWatch | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._writing = WriteWatch(transport, timeout=self.send_timeout)
        connection = transport.get_extra_info("socket")
        with suppress(OSError):  # no TCP, or a system without it
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._writing is not None:
            self._writing.resume()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is not None:
            self._writing.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.resume()
