"""Endpoints for those who run the server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel


@pytest.fixture
def log_level() -> Iterator[None]:
    """Puts the logger back as it was."""
    logger = logging.getLogger("ftllm")
    level = logger.level
    yield
    logger.setLevel(level)


def test_version(api: Api) -> None:
    assert api.get("/version").json() == {"version": version("ftllm")}


def test_live_and_ready(api: Api, engine: FakeEngine) -> None:
    assert api.get("/live").json() == api.get("/ready").json() == {"status": "ok"}
    engine.alive = False
    for path in ("/live", "/ready"):
        response = api.get(path)
        assert response.status_code == 503
        assert "stopped" in response.json()["status"]


def test_a_stalled_engine_is_neither_live_nor_ready(model: FakeModel, engine: FakeEngine) -> None:
    app = create_app(model, ServerSettings(stall_timeout=0.01))
    engine.go.clear()

    async def scenario() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            request = asyncio.create_task(client.post("/v1/completions", json={"prompt": "x"}))
            await asyncio.sleep(0.1)
            engine.last_step_at = time.monotonic() - 5
            for path in ("/live", "/ready"):
                response = await client.get(path)
                assert response.status_code == 503
                assert "no step" in response.json()["status"]
            assert (await client.get("/health")).json()["live"] is False
            engine.go.set()
            await request

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/v1/load", "/load", "/get_load"])
def test_load_counts_what_is_being_answered(
    model: FakeModel, engine: FakeEngine, path: str
) -> None:
    app = create_app(model, ServerSettings())
    engine.go.clear()

    async def scenario() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def load() -> int:
                figures = (await client.get(path)).json()
                assert figures["load"] == figures["server_load"]
                return int(figures["server_load"])

            assert await load() == 0
            body = {"prompt": "x", "stream": True, "n": 2}
            requests = [
                asyncio.create_task(client.post("/v1/completions", json=body)) for _ in range(3)
            ]
            await asyncio.sleep(0.1)
            assert await load() == 3
            engine.go.set()
            await asyncio.gather(*requests)
            assert await load() == 0
            await client.post("/v1/completions", json={"prompt": 5})
            assert await load() == 0

    asyncio.run(scenario())


def test_loads_are_in_the_shape_of_sglang(api: Api) -> None:
    api.complete("x")
    figures = api.get("/v1/loads?include=core,queues").json()
    assert figures["dp_rank_count"] == 1
    (entry,) = figures["loads"]
    assert entry == {
        "dp_rank": 0,
        "num_running_reqs": 0,
        "num_waiting_reqs": 0,
        "num_total_reqs": 0,
        "num_used_tokens": 0,
        "max_total_num_tokens": 3200,
        "token_usage": 0.0,
        "cache_hit_rate": 0.0,
    }


def test_server_info(api: Api) -> None:
    body = api.get("/server_info").json()
    assert body["model"] == "tiny/model"
    assert body["summary"] == ["model    tiny/model: scripted"]
    assert body["engine"]["kv_blocks"] == 100
    assert body["settings"]["max_choices"] == 256
    assert body["settings"]["response_store"] is None


def test_server_info_tells_where_responses_are_kept(model: FakeModel, tmp_path: Path) -> None:
    file = tmp_path / "responses.db"
    api = Api(create_app(model, ServerSettings(response_store=file)))
    assert api.get("/server_info").json()["settings"]["response_store"] == str(file)


def test_the_prefix_cache_is_reset(api: Api, engine: FakeEngine) -> None:
    assert api.post("/reset_prefix_cache", {}).json() == {"status": "ok"}
    assert engine.cache_resets == 1
    assert error_of(api.get("/reset_prefix_cache"), 405)


@pytest.mark.parametrize("path", ["/reset_prefix_cache", "/abort_requests"])
def test_a_web_page_cannot_send_them_as_a_form(api: Api, engine: FakeEngine, path: str) -> None:
    headers = {"Origin": "http://elsewhere", "Content-Type": "application/x-www-form-urlencoded"}
    response = api.send("POST", path, content=b"", headers=headers)
    assert error_of(response, 415)["code"] == "unsupported_media_type"
    assert (engine.cache_resets, engine.aborted) == (0, [])


@pytest.mark.parametrize("stream", [False, True])
def test_everything_is_aborted(model: FakeModel, engine: FakeEngine, *, stream: bool) -> None:
    engine.script = lambda _: [65] * 100_000
    engine.step_seconds = 0.001
    app = create_app(model, ServerSettings())

    async def scenario() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"prompt": "x", "n": 2, "max_tokens": 50_000, "stream": stream}
            requests = [
                asyncio.create_task(client.post("/v1/completions", json=body)) for _ in range(2)
            ]
            while engine.live < 4:
                await asyncio.sleep(0.01)
            assert (await client.post("/abort_requests")).json() == {"aborted": 4}
            for response in await asyncio.gather(*requests):
                if stream:
                    assert '"code":"engine_stopped"' in response.text
                    assert response.text.endswith("data: [DONE]\n\n")
                else:
                    assert error_of(response, 503)["code"] == "engine_stopped"
            assert engine.wait_idle()

    asyncio.run(scenario())


@pytest.mark.usefixtures("log_level")
def test_the_log_level(api: Api) -> None:
    assert api.post("/log_level", {"level": "debug"}).json() == {"level": "debug"}
    assert logging.getLogger("ftllm.server").isEnabledFor(logging.DEBUG)
    assert api.get("/log_level").json() == {"level": "debug"}
    assert error_of(api.post("/log_level", {"level": "loud"}), 400)["param"] == "level"
    assert error_of(api.post("/log_level", {}), 400)["param"] == "level"
