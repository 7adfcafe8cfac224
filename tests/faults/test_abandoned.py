"""Connections that are opened and left: no descriptor, no KV block and no request stays behind."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from .clients import StreamReader, connect, request_bytes, reset
from .faulty import FaultyServer, StartServer, body_of

pytestmark = pytest.mark.e2e

CONNECTIONS = 500
Leave = Callable[[socket.socket], None]


def close(connection: socket.socket) -> None:
    connection.close()


def half_close_then_reset(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_WR)
    reset(connection)


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Iterator[FaultyServer]:
    """It is patient: who leaves is the client."""
    with start_server("--header_timeout", "600", "--body_timeout", "600") as server:
        yield server
        assert server.process.stop() == 0


@pytest.fixture(autouse=True)
def _others_are_served(server: FaultyServer) -> None:
    """Before the test, so that what serving needs is open already."""
    server.switch("seconds", 0)
    server.text()


@pytest.mark.parametrize("leave", [close, reset, half_close_then_reset])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-", id="half_a_head"),
        pytest.param(request_bytes(body_of("x", max_tokens=9))[:-20], id="half_a_body"),
    ],
)
def test_before_the_request_was_whole(server: FaultyServer, sent: bytes, leave: Leave) -> None:
    files = server.settled_files()
    connections = [connect(server) for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.sendall(sent)
    expected = server.text()  # they are half open, and in nobody's way
    server.wait_for_files(files + CONNECTIONS, files + CONNECTIONS + 2)
    for connection in connections:
        leave(connection)
    server.wait_for_files(0, files)
    server.wait_until_idle()
    assert server.text() == expected


@pytest.mark.parametrize("leave", [close, reset])
@pytest.mark.parametrize("stream", [True, False])
def test_after_the_request_was_sent(server: FaultyServer, stream: bool, leave: Leave) -> None:
    """More of them than run and wait at once: the rest were refused, and nobody heard of it."""
    files, refused = server.settled_files(), server.engine()["rejected"]
    server.switch("seconds", 0.02)
    expected = StreamReader(server, "kept", max_tokens=40)
    connections = []
    for number in range(CONNECTIONS):
        connection = connect(server)
        connection.sendall(request_bytes(body_of(f"{number}", max_tokens=2000, stream=stream)))
        connections.append(connection)
    deadline = time.monotonic() + 30
    while server.engine()["rejected"] - refused < CONNECTIONS - 64 - 256:
        assert time.monotonic() < deadline, "the requests do not arrive"
        time.sleep(0.05)
    for connection in connections:
        leave(connection)
    expected.wait_for_end()
    assert expected.is_whole
    assert expected.error is None
    server.wait_until_idle()
    server.wait_for_files(0, files)
    assert server.engine()["failed_steps"] == 0
    assert "Traceback" not in server.process.log()


def test_heads_that_never_end_harm_nobody(start_server: StartServer) -> None:
    """A header line now and then keeps a connection alive, and costs others nothing."""
    with start_server("--header_timeout", "600") as server:
        expected = server.text()
        files, memory = server.settled_files(), server.memory
        loris = [connect(server) for _ in range(200)]
        for connection in loris:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n")
        for round in range(5):
            for connection in loris:
                connection.sendall(b"X-%d: %d\r\n" % (round, round))
            assert server.text() == expected
        assert server.memory - memory < 20 << 20
        for connection in loris:
            connection.close()
        server.wait_for_files(0, files)


def test_heads_that_never_end_are_cut_off(start_server: StartServer) -> None:
    """However regularly a line of them comes."""
    with start_server("--header_timeout", "2") as server:
        expected = server.text()
        files = server.settled_files()
        loris = [connect(server) for _ in range(200)]
        for connection in loris:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n")
        deadline = time.monotonic() + 10
        while server.files > files + 2:
            assert time.monotonic() < deadline, "they are still connected"
            for connection in loris:
                with suppress(OSError):
                    connection.sendall(b"X: 1\r\n")
            assert server.text() == expected
        for connection in loris:
            connection.close()
