"""The stream itself: what keeps it alive, and how it ends."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from ftllm.errors import OptionError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .fake_engine import FakeEngine
from .fake_model import FakeModel

COMMENT = ": keep-alive"


def blocks_of(model: FakeModel, engine: FakeEngine, *, keep_alive: float) -> list[str]:
    """The blocks of a stream whose engine says nothing for 0.35 s at the start."""
    app = create_app(model, ServerSettings(keep_alive=keep_alive))
    engine.go.clear()

    async def scenario() -> str:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"prompt": "x", "stream": True}
            request = asyncio.create_task(client.post("/v1/completions", json=body))
            await asyncio.sleep(0.35)
            engine.go.set()
            return (await request).text

    text = asyncio.run(scenario())
    assert text.endswith("\n\n")
    return text.removesuffix("\n\n").split("\n\n")


def test_comments_in_silence(model: FakeModel, engine: FakeEngine) -> None:
    blocks = blocks_of(model, engine, keep_alive=0.1)
    comments = blocks.count(COMMENT)
    assert 2 <= comments <= 4
    assert blocks[:comments] == [COMMENT] * comments
    assert blocks[-1] == "data: [DONE]"
    assert len(blocks) > comments + 1


@pytest.mark.parametrize("keep_alive", [0, 5])
def test_no_comments(model: FakeModel, engine: FakeEngine, keep_alive: float) -> None:
    assert COMMENT not in blocks_of(model, engine, keep_alive=keep_alive)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_the_setting_is_checked(value: float) -> None:
    with pytest.raises(OptionError, match="keep_alive"):
        ServerSettings(keep_alive=value)
