from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel

PATH = "/v1/completions"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2", b'{"prompt": "a"} x', b"{'prompt': 'a'}", b"[" * 5000, b"nonsense"],
)
def test_invalid_json(api: Api, content: bytes) -> None:
    error = error_of(api.send("POST", PATH, content=content), 400)
    assert error["code"] == "invalid_json"
    assert "Invalid JSON" in error["message"]


@pytest.mark.parametrize("content", [b"[]", b"3", b'"x"', b"null"])
def test_json_that_is_no_object(api: Api, content: bytes) -> None:
    assert error_of(api.send("POST", PATH, content=content), 400)["code"] == "invalid_type"


@pytest.mark.parametrize(
    "content", [b'{"prompt": "\xff\xfe"}', b'{"prompt": "\xed\xa0\x80"}', b'{"prompt": "\\ud800"}']
)
def test_invalid_utf8(api: Api, content: bytes) -> None:
    assert error_of(api.send("POST", PATH, content=content), 400)["code"] == "invalid_json"


def test_20_megabytes_are_too_large(api: Api, engine: FakeEngine) -> None:
    response = api.complete("x" * 20_000_000)
    error = error_of(response, 413)
    assert error["code"] == "request_too_large"
    assert str(16 * 1024 * 1024) in error["message"]
    assert engine.requests == []


def test_a_body_without_a_length_is_read_up_to_the_limit(model: FakeModel) -> None:
    app = create_app(model, ServerSettings(max_body_bytes=10_000))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    response = asyncio.run(_post(app, endless()))
    error_of(response, 413)
    assert sent <= 13_000


def test_the_limit_itself_is_allowed(model: FakeModel) -> None:
    app = create_app(model, ServerSettings(max_body_bytes=1000))
    body = b'{"prompt": "a"}'
    assert Api(app).send("POST", PATH, content=body.ljust(1000)).status_code == 200
    error_of(Api(app).send("POST", PATH, content=body.ljust(1001)), 413)


def test_a_browser_must_send_json(api: Api) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    response = api.send("POST", PATH, content=b'{"prompt": "a"}', headers=headers)
    assert error_of(response, 415)["code"] == "unsupported_media_type"
    headers["Content-Type"] = "application/json; charset=utf-8"
    assert api.send("POST", PATH, content=b'{"prompt": "a"}', headers=headers).status_code == 200


async def _post(app: FastAPI, content: AsyncIterator[bytes]) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(PATH, content=content)
