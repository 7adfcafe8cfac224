"""Clients that hang up, over a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import error_of, listening
from .fake_engine import FakeEngine
from .fake_model import FakeModel


@pytest.fixture
def url(model: FakeModel, engine: FakeEngine) -> Iterator[str]:
    """Answers are endless and slow."""
    engine.script = lambda _: [65] * 100_000
    engine.step_seconds = 0.005
    with listening(create_app(model, ServerSettings())) as url:
        yield url


def hang_up_after_sending(url: str, path: str, body: dict[str, object]) -> None:
    address = urlsplit(url)
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(head.encode() + content)
        time.sleep(0.2)


def assert_freed(engine: FakeEngine, count: int) -> None:
    assert len(engine.requests) == count
    assert engine.wait_idle()
    assert sorted(engine.aborted) == sorted(request.request_id for request in engine.requests)


def test_half_a_body_is_no_failure_of_the_server(
    url: str, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    address = urlsplit(url)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        connection.sendall(head + b'{"prompt": "a')
    deadline = time.monotonic() + 5
    while " 499 " not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        time.sleep(0.01)
    assert "Traceback" not in caplog.text
    assert engine.requests == []


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_that_is_dropped(url: str, engine: FakeEngine, n: int) -> None:
    body = {"prompt": "a", "stream": True, "max_tokens": 50_000, "n": n}
    with httpx.stream("POST", f"{url}/v1/completions", json=body) as response:
        for _, _ in zip(range(5), response.iter_lines(), strict=False):
            pass
        assert engine.live == n
    assert_freed(engine, n)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_never_reads(url: str, engine: FakeEngine, stream: bool) -> None:
    messages = [{"role": "user", "content": "a"}]
    hang_up_after_sending(url, "/v1/chat/completions", {"messages": messages, "stream": stream})
    assert_freed(engine, 1)


def test_a_whole_answer_that_nobody_waits_for(url: str, engine: FakeEngine) -> None:
    body = {"prompt": ["a", "b"], "max_tokens": 50_000}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/v1/completions", json=body, timeout=0.3)
    assert_freed(engine, 2)


def test_a_request_that_still_waits(url: str, engine: FakeEngine) -> None:
    engine.go.clear()
    hang_up_after_sending(url, "/v1/completions", {"prompt": "a", "stream": True})
    deadline = time.monotonic() + 5
    while not engine.aborted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert engine.aborted == [engine.requests[0].request_id]
    engine.go.set()
    assert engine.wait_idle()


def test_the_others_go_on(url: str, engine: FakeEngine) -> None:
    engine.script = lambda _: [65] * 60
    body = {"prompt": "a", "stream": True, "max_tokens": 1000}
    with httpx.stream("POST", f"{url}/v1/completions", json=body) as kept:
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as dropped:
            next(dropped.iter_lines())
        text = "".join(kept.iter_text())
    assert text.endswith("data: [DONE]\n\n")
    assert text.count('"text":"A"') == 60
    assert engine.wait_idle()
    assert len(engine.aborted) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_the_server_cancels(
    model: FakeModel, engine: FakeEngine, stream: bool
) -> None:
    engine.script = lambda _: [65] * 100_000
    engine.step_seconds = 0.005
    body = {"prompt": "a", "stream": stream, "max_tokens": 50_000}

    answers: list[httpx.Response | httpx.RemoteProtocolError] = []

    def ask(url: str) -> None:
        try:
            answers.append(httpx.post(f"{url}/v1/completions", json=body))
        except httpx.RemoteProtocolError as error:
            answers.append(error)

    with listening(create_app(model, ServerSettings()), patience=0) as url:
        client = threading.Thread(target=ask, args=(url,))
        client.start()
        deadline = time.monotonic() + 5
        while not engine.live and time.monotonic() < deadline:
            time.sleep(0.01)
    client.join(timeout=5)
    (answer,) = answers
    if stream:  # its status is long sent, so an unfinished body has to tell
        assert isinstance(answer, httpx.RemoteProtocolError)
    else:
        assert isinstance(answer, httpx.Response)
        assert error_of(answer, 503)["code"] == "engine_stopped"
    assert_freed(engine, 1)


def test_a_connection_serves_several_requests(url: str, engine: FakeEngine) -> None:
    engine.script = lambda _: [65, 66]
    with httpx.Client(base_url=url) as client:
        for _ in range(3):
            assert client.post("/v1/completions", json={"prompt": "a"}).status_code == 200
            answer = client.post("/v1/completions", json={"prompt": "a", "stream": True})
            assert answer.text.endswith("[DONE]\n\n")
        big = client.post("/v1/completions", content=b" " * 20_000_000)
        assert big.status_code == 413
        assert client.get("/health").status_code == 200
    assert engine.aborted == []
