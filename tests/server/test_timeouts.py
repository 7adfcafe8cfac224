"""Requests that wait or take too long."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from ftllm.server.app import create_app
from ftllm.server.request_limits import RequestLimits
from ftllm.server.settings import ServerSettings

from .api import Api, chunks_of, error_of, events_of, listening
from .fake_engine import RETRY_AFTER, FakeEngine
from .fake_model import FakeModel


@pytest.fixture
def waiting(model: FakeModel, engine: FakeEngine) -> Api:
    """The engine runs nothing, and requests wait for at most 50 ms."""
    engine.go.clear()
    limits = RequestLimits(queue_timeout=0.05)
    return Api(create_app(model, ServerSettings(limits=limits)))


@pytest.fixture
def hurried(model: FakeModel, engine: FakeEngine) -> Api:
    """Answers are endless, and may take 0.2 s."""
    engine.script = lambda _: [65] * 100_000
    engine.step_seconds = 0.002
    limits = RequestLimits(request_timeout=0.2)
    return Api(create_app(model, ServerSettings(limits=limits)))


def rejections(api: Api, reason: str) -> str:
    (line,) = [line for line in api.get("/metrics").text.splitlines() if f'"{reason}"' in line]
    return line.rpartition(" ")[2]


def test_a_request_that_waits_too_long(waiting: Api, engine: FakeEngine) -> None:
    answer = waiting.chat(n=2)
    error = error_of(answer, 503)
    assert error["code"] == "queue_timeout"
    assert "It waited 0.05 s." in error["message"]
    assert answer.headers["retry-after"] == str(RETRY_AFTER)
    assert engine.wait_idle()
    assert rejections(waiting, "queue_timeout") == "1.0"
    engine.go.set()
    assert waiting.chat().status_code == 200


def test_a_stream_that_waits_too_long(waiting: Api, engine: FakeEngine) -> None:
    *_, last = chunks_of(waiting.chat(stream=True))
    assert last["error"]["code"] == "queue_timeout"
    assert engine.wait_idle()
    assert rejections(waiting, "queue_timeout") == "1.0"


def test_anthropic_calls_it_overloaded(waiting: Api) -> None:
    answer = waiting.message({"role": "user", "content": "Hi"})
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "overloaded_error"


def test_embeddings_that_wait_too_long(waiting: Api, engine: FakeEngine) -> None:
    answer = waiting.post("/v1/embeddings", {"input": ["a", "b"]})
    assert error_of(answer, 503)["code"] == "queue_timeout"
    assert answer.headers["retry-after"]
    assert engine.wait_idle()


def test_without_the_option_requests_wait_for_ever(api: Api, engine: FakeEngine) -> None:
    assert api.chat().status_code == 200
    assert engine.requests[0].queue_timeout is None


def test_an_answer_that_takes_too_long(hurried: Api, engine: FakeEngine) -> None:
    started = time.monotonic()
    error = error_of(hurried.complete(max_tokens=50_000), 504)
    assert time.monotonic() - started >= 0.2
    assert error["code"] == "request_timeout"
    assert "0.2 s after the request came" in error["message"]
    assert engine.wait_idle()
    assert engine.aborted
    assert rejections(hurried, "request_timeout") == "1.0"
    assert hurried.complete(max_tokens=3).status_code == 200


def test_a_stream_that_takes_too_long(hurried: Api, engine: FakeEngine) -> None:
    *chunks, last = chunks_of(hurried.complete(max_tokens=50_000, stream=True, n=2))
    assert chunks
    assert last["error"]["code"] == "request_timeout"
    assert engine.wait_idle()
    assert len(set(engine.aborted)) == 2
    assert rejections(hurried, "request_timeout") == "1.0"


def test_other_forms_of_streams_end_in_theirs(hurried: Api, engine: FakeEngine) -> None:
    *_, last = events_of(hurried.message({"role": "user", "content": "a"}, stream=True))
    assert last == {
        "type": "error",
        "error": {"type": "timeout_error", "message": last["error"]["message"]},
    }
    *_, last = events_of(hurried.respond(stream=True))
    assert last["type"] == "response.failed"
    assert engine.wait_idle()


def test_embeddings_that_take_too_long(hurried: Api, engine: FakeEngine) -> None:
    engine.go.clear()
    answer = hurried.post("/v1/embeddings", {"input": ["a", "b"]})
    assert error_of(answer, 504)["code"] == "request_timeout"
    engine.go.set()
    assert engine.wait_idle()


def test_the_engine_is_freed_whether_the_client_reads_or_not(
    model: FakeModel, engine: FakeEngine
) -> None:
    engine.script = lambda _: [65] * 100_000
    limits = RequestLimits(request_timeout=0.5)
    app = create_app(model, ServerSettings(limits=limits))
    body = {"prompt": "a", "stream": True, "max_tokens": 90_000, "n": 8}
    with (
        listening(app, patience=0) as url,
        httpx.stream("POST", f"{url}/v1/completions", json=body),
    ):
        deadline = time.monotonic() + 10
        while len(set(engine.aborted)) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert engine.wait_idle()


def test_a_response_in_the_background_fails(hurried: Api, engine: FakeEngine) -> None:
    with listening(hurried.app) as url, httpx.Client(base_url=url) as client:
        response = client.post("/v1/responses", json={"input": "a", "background": True}).json()
        deadline = time.monotonic() + 10
        while response["status"] == "in_progress":
            assert time.monotonic() < deadline
            time.sleep(0.02)
            response = client.get(f"/v1/responses/{response['id']}").json()
    assert response["status"] == "failed"
    assert "0.2 s" in json.dumps(response["error"])
    assert engine.wait_idle()
