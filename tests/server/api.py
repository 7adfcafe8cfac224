"""Talks to an app: in process, or through a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from ftllm.server.http_protocol import limited_protocol
from ftllm.server.request_limits import DEFAULT_LIMITS, RequestLimits

Json = dict[str, Any]


class Api:
    """One in-process call at a time, each on an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: object) -> httpx.Response:
        return self.send("POST", path, content=json.dumps(body).encode())

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, content=content, headers=headers)

        return asyncio.run(call())

    def chat(self, text: str = "Hi", /, **fields: object) -> httpx.Response:
        body = {"model": "tiny/model", "messages": [{"role": "user", "content": text}], **fields}
        return self.post("/v1/chat/completions", body)

    def complete(self, prompt: object = "Hi", /, **fields: object) -> httpx.Response:
        body = {"model": "tiny/model", "prompt": prompt, **fields}
        return self.post("/v1/completions", body)

    def respond(self, input: object = "Hi", /, **fields: object) -> httpx.Response:
        return self.post("/v1/responses", {"model": "tiny/model", "input": input, **fields})

    def message(self, *messages: object, **fields: object) -> httpx.Response:
        body = {"model": "tiny/model", "max_tokens": 400, "messages": messages, **fields}
        return self.post("/v1/messages", body)


def events_of(response: httpx.Response) -> list[Json]:
    """The JSON of every event. Checks that each is named by its type."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks.pop() == ""
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def chunks_of(response: httpx.Response) -> list[Json]:
    """The JSON of every event. Checks the framing and that [DONE] comes last, once."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = response.text.split("\n\n")
    assert blocks.pop() == ""
    assert blocks.pop() == "data: [DONE]"
    chunks = []
    for block in blocks:
        event, _, data = block.rpartition("data: ")
        chunk = json.loads(data)
        assert event == ("event: error\n" if "error" in chunk else "")
        chunks.append(chunk)
    return chunks


def error_of(response: httpx.Response, status: int) -> Json:
    """The error object; its shape is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    return dict(error)


@contextmanager
def listening(
    app: FastAPI, *, patience: int = 5, limits: RequestLimits = DEFAULT_LIMITS
) -> Iterator[str]:
    """Serves `app` on a free port of 127.0.0.1; gives the base URL. At the end, requests have
    `patience` seconds to finish before they are cancelled."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http=limited_protocol(limits),
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=patience,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()
