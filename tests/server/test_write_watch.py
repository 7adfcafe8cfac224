"""When a client that does not read is cut off; over real sockets it is in tests/faults."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from ftllm.errors import OptionError
from ftllm.server.request_limits import RequestLimits
from ftllm.server.write_watch import WriteWatch

TIMEOUT = 0.05


class FakeTransport:
    def __init__(self, connection: socket.socket) -> None:
        self.waiting = 1000  # bytes
        self.aborted = False
        self._connection = connection

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> socket.socket:
        assert name == "socket"
        return self._connection

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def transport() -> Iterator[FakeTransport]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield FakeTransport(ours)


def watch_of(transport: FakeTransport, *, timeout: float = TIMEOUT) -> WriteWatch:
    return WriteWatch(cast(asyncio.Transport, transport), timeout=timeout)


def test_a_client_that_takes_nothing_is_cut_off(transport: FakeTransport) -> None:
    async def scenario() -> None:
        watch_of(transport).pause()
        await asyncio.sleep(5 * TIMEOUT)

    asyncio.run(scenario())
    assert transport.aborted


def test_a_client_that_takes_a_little_is_not(transport: FakeTransport) -> None:
    async def scenario() -> None:
        watch = watch_of(transport)
        watch.pause()
        for _ in range(20):
            transport.waiting -= 1
            await asyncio.sleep(TIMEOUT / 4)
        assert not transport.aborted
        watch.resume()
        await asyncio.sleep(5 * TIMEOUT)

    asyncio.run(scenario())
    assert not transport.aborted


def test_what_lies_in_the_socket_counts(transport: FakeTransport) -> None:
    """The process has given all to the system, and the client reads only there."""
    ours, theirs = socket.socketpair()

    async def scenario() -> None:
        for _ in range(20):  # the system counts by what was written at once
            ours.sendall(b"x")
        watch_of(transport).pause()
        for _ in range(10):
            theirs.recv(1)
            await asyncio.sleep(TIMEOUT / 2)

    with ours, theirs:
        transport._connection = ours
        asyncio.run(scenario())
    assert not transport.aborted


def test_no_timeout(transport: FakeTransport) -> None:
    async def scenario() -> None:
        watch_of(transport, timeout=0).pause()
        await asyncio.sleep(3 * TIMEOUT)

    asyncio.run(scenario())
    assert not transport.aborted


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan")])
def test_bad_timeouts(value: float) -> None:
    with pytest.raises(OptionError, match="send_timeout"):
        RequestLimits(send_timeout=value)
