"""Clients that read slowly or never: what is kept for them is bounded, and nobody else notices."""

from __future__ import annotations

import re
import threading
import time

import pytest

from .clients import DONE, StreamReader, connect, request_bytes
from .faulty import FaultyServer, StartServer, body_of

pytestmark = pytest.mark.e2e

SMALL_BUFFER = 4096  # bytes that the client's system takes for it
SEND_TIMEOUT = 2
MEMORY_BOUND = 100 << 20  # bytes


def endless(number: int) -> bytes:
    """Much text a token, so that what is kept would grow fast."""
    body = body_of(f"{number}", max_tokens=30_000, stream=True)
    return request_bytes({**body, "logprobs": 5})


def test_clients_that_never_read(start_server: StartServer) -> None:
    with start_server("--send_timeout", str(SEND_TIMEOUT)) as server:
        expected = server.text("alone", max_tokens=400)
        files = server.settled_files()
        memory = server.memory
        idle = [connect(server, receive_buffer=SMALL_BUFFER) for _ in range(8)]
        for number, connection in enumerate(idle):
            connection.sendall(endless(number))
        reader = StreamReader(server, "alone", max_tokens=400)
        reader.wait_for_end()
        assert reader.answer == expected
        server.wait_until_idle()  # although the clients are still there
        server.wait_for_files(0, files)
        assert server.memory - memory < MEMORY_BOUND
        ended = re.findall(r"has read nothing for 2 s while \d+ bytes", server.process.log())
        assert len(ended) == len(idle)
        assert server.process.log().count("POST /v1/completions 499") == len(idle)
        for connection in idle:
            connection.close()
        assert server.text("alone", max_tokens=400) == expected
        assert server.process.stop() == 0
        assert "Traceback" not in server.process.log()


def test_an_answer_that_nobody_reads_is_not_kept(start_server: StartServer) -> None:
    """Written at once, it waits in the connection's buffer when the request has long ended."""
    with start_server("--send_timeout", str(SEND_TIMEOUT)) as server:
        server.text()
        files = server.settled_files()
        connection = connect(server, receive_buffer=SMALL_BUFFER)
        body = {**body_of("x", max_tokens=700), "logprobs": 5, "n": 4}
        connection.sendall(request_bytes(body))
        server.wait_for_log("POST /v1/completions 200")
        server.wait_for_log("has read nothing for 2 s")
        server.wait_for_files(0, files)
        connection.close()


def test_a_client_that_reads_a_byte_at_a_time(server: FaultyServer) -> None:
    """It gets what there was when it fell too far behind, then an error; the engine is free long
    before."""
    slow = connect(server, receive_buffer=SMALL_BUFFER)
    slow.sendall(endless(1))
    reading = threading.Event()
    reading.set()
    received = bytearray()

    def read() -> None:
        while reading.is_set():
            received.extend(slow.recv(1))
            time.sleep(0.2)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while server.engine()["running"]:
        assert time.monotonic() < deadline, "the engine still works for it"
        time.sleep(0.05)
    assert server.engine()["generated_tokens"] < 15_000
    reading.clear()
    thread.join()
    while data := slow.recv(1 << 20):  # it reads on, fast
        received.extend(data)
        if received.endswith(b"0\r\n\r\n"):
            break
    slow.close()
    assert received.count(b'"code":"reader_too_slow"') == 1
    assert received.count(DONE) == 1
    assert received.count(b'"text_completion"') > 3000
    server.wait_until_idle()
