"""An ASGI app whose answer is taken piece by piece."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from ftllm.deploy.asgi_exchange import MAX_AHEAD, AsgiExchange, HttpHead, HttpRequest

REQUEST = HttpRequest(
    method="POST", path="/v1/x", query=b"a=1", headers=((b"k", b"v"),), body=b"body"
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 201, "headers": scope["headers"]})
    for piece in (scope["path"].encode(), scope["query_string"], message["body"], b""):
        await send({"type": "http.response.body", "body": piece, "more_body": piece != b""})


def test_the_head_and_then_the_body() -> None:
    async def scenario() -> list[object]:
        return [piece async for piece in AsgiExchange(echo, REQUEST).pieces()]

    assert asyncio.run(scenario()) == [
        HttpHead(201, ((b"k", b"v"),)),
        b"/v1/x",
        b"a=1",
        b"body",
    ]


def test_the_app_hears_of_a_hang_up_even_when_it_is_far_ahead() -> None:
    heard = []

    async def endless(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.create_task(receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sent = 0
        while not waiting.done():
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1
            await asyncio.sleep(0)
        heard.append((waiting.result()["type"], sent))

    async def scenario() -> None:
        pieces = AsgiExchange(endless, REQUEST).pieces()
        await anext(pieces)
        await asyncio.sleep(0.05)
        await asyncio.wait_for(pieces.aclose(), 5)

    asyncio.run(scenario())
    ((kind, sent),) = heard
    assert kind == "http.disconnect"
    assert sent <= MAX_AHEAD + 3


def test_a_cancelled_taker_has_hung_up() -> None:
    heard = []

    async def silent(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        heard.append((await receive())["type"])

    async def take() -> None:
        async for _ in AsgiExchange(silent, REQUEST).pieces():
            pass

    async def scenario() -> None:
        task = asyncio.create_task(take())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)

    asyncio.run(scenario())
    assert heard == ["http.disconnect"]


def test_a_failure_of_the_app_is_not_an_end() -> None:
    async def broken(_: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("broken")

    async def scenario() -> None:
        async for _ in AsgiExchange(broken, REQUEST).pieces():
            pass

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(scenario())
