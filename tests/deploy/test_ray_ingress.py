"""The ingress with a handle that answers from a script."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from ftllm.deploy.asgi_exchange import HttpHead, HttpRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Ray is warned of while it is imported
    pytest.importorskip("ray", reason="Ray is not there: pip install '.[deploy-test]'")
    from ray.exceptions import RayActorError
    from ray.serve.exceptions import BackPressureError

    from ftllm.deploy.ray_ingress import ATTEMPTS, Ingress

HEAD = HttpHead(200, ((b"content-type", b"text/plain"), (b"x-request-id", b"r"), (b"x-a", b"b")))
Script = Sequence[object]  # pieces, or exceptions to raise


class FakeAnswer:
    def __init__(self, script: Script) -> None:
        self._script = iter(script)
        self.cancelled = False

    def __aiter__(self) -> FakeAnswer:
        return self

    async def __anext__(self) -> object:
        piece = next(self._script, StopAsyncIteration())
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def cancel(self) -> None:
        self.cancelled = True


class FakeHandle:
    """Each request takes the next script, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.requests: list[HttpRequest] = []
        self.answers: list[FakeAnswer] = []

    def options(self, *, method_name: str, stream: bool) -> FakeHandle:
        assert (method_name, stream) == ("answer", True)
        return self

    def remote(self, request: HttpRequest) -> FakeAnswer:
        self.requests.append(request)
        script = self._scripts[min(len(self.answers), len(self._scripts) - 1)]
        self.answers.append(FakeAnswer(script))
        return self.answers[-1]


def ask(handle: FakeHandle, body: bytes = b"{}") -> list[Message]:
    """What the ingress sends for a POST to /app/v1/completions?a=1, mounted at /app."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/app/v1/completions",
        "root_path": "/app",
        "query_string": b"a=1",
        "headers": [(b"host", b"h"), (b"authorization", b"Bearer k")],
        "client": ("10.0.0.9", 5),
    }
    sent: list[Message] = []
    incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def scenario() -> None:
        response = await Ingress(handle, max_body_bytes=100_000)(Request(scope, receive))
        await response(scope, receive, send)

    asyncio.run(scenario())
    return sent


def error_in(sent: Sequence[Message]) -> tuple[int, dict[str, Any], dict[bytes, bytes]]:
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body)["error"], dict(sent[0]["headers"])


def test_the_request_and_its_answer_are_carried() -> None:
    handle = FakeHandle([HEAD, b"one", b"two"])
    sent = ask(handle, json.dumps({"prompt": "x" * 300}).encode())
    (request,) = handle.requests
    assert (request.method, request.path, request.query) == ("POST", "/v1/completions", b"a=1")
    assert (b"authorization", b"Bearer k") in request.headers
    assert request.client == ("10.0.0.9", 5)
    assert len(request.routing_keys) == 2
    assert sent[0]["status"] == 200
    assert list(sent[0]["headers"]) == [(b"content-type", b"text/plain"), (b"x-a", b"b")]
    assert [message["body"] for message in sent[1:]] == [b"one", b"two", b""]
    assert not handle.answers[0].cancelled


def test_a_long_body_is_routed_the_same_way() -> None:
    handle = FakeHandle([HEAD])
    ask(handle, json.dumps({"prompt": "x" * 90_000}).encode())
    assert len(handle.requests[0].routing_keys) == (90_000 + 2) // 128


def test_another_replica_answers_when_one_dies_before_it_does() -> None:
    handle = FakeHandle([RayActorError()], [HEAD, b"one"])
    sent = ask(handle)
    assert [message.get("body") for message in sent[1:]] == [b"one", b""]
    assert handle.requests[0] == handle.requests[1]


def test_not_for_ever() -> None:
    handle = FakeHandle([RayActorError()])
    status, error, headers = error_in(ask(handle))
    assert (status, error["type"]) == (503, "server_error")
    assert headers[b"retry-after"] == b"1"
    assert len(handle.answers) == ATTEMPTS


def test_full_queues_are_429() -> None:
    status, error, headers = error_in(ask(FakeHandle([BackPressureError(1, 1)])))
    assert (status, error["type"]) == (429, "rate_limit_error")
    assert "queue is full" in error["message"]
    assert headers[b"retry-after"] == b"1"


def test_a_body_that_is_too_long_is_refused() -> None:
    handle = FakeHandle([HEAD])
    status, error, _ = error_in(ask(handle, b"x" * 100_001))
    assert (status, error["type"]) == (413, "invalid_request_error")
    assert handle.requests == []


def test_an_answer_that_breaks_off_is_no_complete_one() -> None:
    handle = FakeHandle([HEAD, b"one", RayActorError()])
    with pytest.raises(BaseException, match="middle of an answer"):
        ask(handle)
    assert handle.answers[0].cancelled
