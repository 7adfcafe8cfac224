"""Slow, large and many clients, over real sockets."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from ftllm.server.app import create_app
from ftllm.server.http_protocol import SPARE_CONNECTIONS
from ftllm.server.request_limits import RequestLimits
from ftllm.server.settings import ServerSettings

from .api import listening
from .fake_engine import FakeEngine
from .fake_model import FakeModel

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"prompt": "a", "max_tokens": 2}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)


@contextmanager
def serving(model: FakeModel, limits: RequestLimits) -> Iterator[str]:
    with listening(create_app(model, ServerSettings(limits=limits)), limits=limits) as url:
        yield url


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    """Until the server hangs up."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def read_answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """The status and the JSON of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        assert chunk, data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    ]
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body)


def code_of(answer: bytes, status: int) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head.lower()
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_connection_that_asks_for_nothing_is_closed(model: FakeModel, sent: bytes) -> None:
    with serving(model, RequestLimits(header_timeout=0.3)) as url, connect(url) as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_headers_byte_by_byte(model: FakeModel, engine: FakeEngine) -> None:
    with serving(model, RequestLimits(header_timeout=0.4)) as url, connect(url) as connection:
        started = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        for byte in HEAD + b"X-Padding: " + b"a" * 1000:
            try:
                connection.sendall(bytes((byte,)))
                answer += connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert 0.3 < time.monotonic() - started < 9
        assert code_of(answer, 408) == "header_timeout"
    assert engine.requests == []


def test_the_second_request_of_a_connection_has_its_own_time(model: FakeModel) -> None:
    with serving(model, RequestLimits(header_timeout=0.5)) as url, connect(url) as connection:
        for _ in range(3):
            connection.sendall(HEAD)
            time.sleep(0.25)
            connection.sendall(LENGTH + BODY)
            assert read_answer(connection)[0] == 200
        connection.sendall(HEAD)
        assert code_of(read_all(connection), 408) == "header_timeout"


def test_a_slow_body(
    model: FakeModel, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ftllm.access")
    with serving(model, RequestLimits(body_timeout=0.3)) as url, connect(url) as connection:
        connection.sendall(HEAD + LENGTH + BODY[:5])
        assert code_of(read_all(connection), 408) == "body_timeout"
        assert " 408 " in caplog.text
    assert engine.requests == []


def test_a_body_that_nobody_reads_is_not_waited_for(model: FakeModel) -> None:
    """The answer is there at once; the connection is not kept for the rest of the body."""
    with serving(model, RequestLimits(body_timeout=0.2)) as url, connect(url) as connection:
        connection.sendall(HEAD.replace(b"/v1/completions", b"/nowhere") + LENGTH + BODY[:5])
        connection.settimeout(0.1)
        answer, closed = b"", False
        deadline = time.monotonic() + 10
        while not closed and time.monotonic() < deadline:
            try:
                chunk = connection.recv(65536)
                answer, closed = answer + chunk, not chunk
                connection.sendall(b" ")  # which would keep an idle connection alive
            except TimeoutError:
                connection.sendall(b" ")
            except OSError:
                closed = True
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert closed


def test_a_long_answer_is_no_slow_client(model: FakeModel, engine: FakeEngine) -> None:
    engine.step_seconds = 0.05
    engine.script = lambda _: [65] * 20
    limits = RequestLimits(header_timeout=0.2, body_timeout=0.2)
    with serving(model, limits) as url, connect(url) as connection:
        body = b'{"prompt": "a", "max_tokens": 20}'
        first = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        connection.sendall(first + HEAD + LENGTH + BODY[:8])  # the next one waits for its turn
        assert read_answer(connection)[0] == 200
        connection.sendall(BODY[8:])
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("pieces", [1, 40])
@pytest.mark.parametrize("ends", [True, False])
def test_headers_beyond_the_limit(
    model: FakeModel, engine: FakeEngine, pieces: int, ends: bool
) -> None:
    """In one packet or many, complete or without an end."""
    with serving(model, RequestLimits(max_header_bytes=8192)) as url, connect(url) as connection:
        padding = b"X-Padding: " + b"a" * 20_000 + (b"\r\n" if ends else b"")
        sent = HEAD + padding + (LENGTH + BODY if ends else b"")
        size = -(-len(sent) // pieces)
        for start in range(0, len(sent), size):
            try:
                connection.sendall(sent[start : start + size])
            except OSError:  # the rest is not wanted
                break
            time.sleep(0.001)
        assert code_of(read_all(connection), 431) == "headers_too_large"
    assert engine.requests == []


def test_many_small_headers_beyond_the_limit(model: FakeModel) -> None:
    with serving(model, RequestLimits(max_header_bytes=8192)) as url, connect(url) as connection:
        connection.sendall(HEAD + b"a: b\r\n" * 2000 + LENGTH + BODY)
        assert code_of(read_all(connection), 431) == "headers_too_large"


def test_a_long_address_is_part_of_the_headers(model: FakeModel) -> None:
    with serving(model, RequestLimits(max_header_bytes=8192)) as url:
        answer = httpx.get(f"{url}/v1/models?{'a' * 9000}")
        assert answer.status_code == 431
        assert "8192 bytes" in answer.json()["error"]["message"]
        assert httpx.get(f"{url}/v1/models?{'a' * 7000}").status_code == 200


def test_a_second_request_of_too_large_headers_waits_for_the_first_answer(
    model: FakeModel, engine: FakeEngine
) -> None:
    engine.step_seconds = 0.05
    with serving(model, RequestLimits(max_header_bytes=2048)) as url, connect(url) as connection:
        connection.sendall(HEAD + LENGTH + BODY)
        time.sleep(0.05)
        connection.sendall(HEAD + b"a: b\r\n" * 2000 + LENGTH + BODY)
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_trailers_without_an_end(model: FakeModel) -> None:
    with serving(model, RequestLimits(max_header_bytes=2048)) as url, connect(url) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        for _ in range(200):
            try:
                connection.sendall(b"a: b\r\n" * 100)
            except OSError:  # the server has hung up
                return
            time.sleep(0.005)
    pytest.fail("the server takes any number of trailers")


def test_connections_beyond_the_limit(model: FakeModel) -> None:
    with serving(model, RequestLimits(max_connections=3)) as url, ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url)) for _ in range(4)]
        assert [client.get("/v1/models").status_code for client in clients[:3]] == [200] * 3
        refused = clients[3].get("/v1/models")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "too_many_connections"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        assert refused.headers["x-request-id"]
        assert clients[3].get("/live").status_code == 200  # a probe must see the server
        assert 'reason="too_many_connections"} 1.0' in clients[0].get("/metrics").text
        clients[0].close()
        clients[3].close()
        clients[3] = stack.enter_context(httpx.Client(base_url=url))
        deadline = time.monotonic() + 5
        while clients[3].get("/v1/models").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_far_more_connections_are_not_even_talked_to(model: FakeModel) -> None:
    with serving(model, RequestLimits(max_connections=1)) as url, ExitStack() as stack:
        kept = [stack.enter_context(connect(url)) for _ in range(1 + SPARE_CONNECTIONS)]
        deadline = time.monotonic() + 5
        while True:  # the server may not have seen all of these yet
            with connect(url) as one_more:
                one_more.settimeout(0.2)
                try:
                    assert one_more.recv(10) == b""
                    break
                except ConnectionResetError:
                    break
                except TimeoutError:
                    assert time.monotonic() < deadline
        kept[0].sendall(HEAD + LENGTH + BODY)
        assert read_answer(kept[0])[0] in (200, 503)
