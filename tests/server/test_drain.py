"""Winding down: who still gets an answer, and which."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest

from ftllm.server.app import create_app_of
from ftllm.server.drain import BY_SIGNAL, DRAINED, TIMED_OUT
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings

from .api import Api, chunks_of, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel

BODY = {"prompt": "x", "max_tokens": 400, "stream": True}
Scenario = Callable[[httpx.AsyncClient, Services], Awaitable[None]]


@pytest.fixture
def long_answers(engine: FakeEngine) -> None:
    engine.script = lambda _: [65] * 400
    engine.step_seconds = 0.005  # about two seconds for an answer


def services_of(model: FakeModel, *, drain_timeout: float = 30.0) -> Services:
    settings = ServerSettings(drain_timeout=drain_timeout, admin_api_keys=("admin",))
    return Services(model, settings)


def run(services: Services, scenario: Scenario) -> None:
    async def call() -> None:
        transport = httpx.ASGITransport(create_app_of(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await scenario(client, services)

    asyncio.run(call())


async def begun(engine: FakeEngine) -> None:
    while engine.live == 0:
        await asyncio.sleep(0.005)


def test_new_work_is_refused_and_readiness_fails_at_once(model: FakeModel) -> None:
    services = services_of(model)
    api = Api(create_app_of(services))
    services.drain.on_signal(signal.SIGTERM)
    assert api.get("/live").status_code == 200
    assert api.get("/ready").status_code == 503
    health = api.get("/health")
    assert health.status_code == 503
    body = health.json()
    assert (body["live"], body["ready"], body["draining"]) == (True, False, True)
    assert "shutting down" in body["reason"]
    refused = api.complete("x")
    assert error_of(refused, 503)["code"] == "draining"
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["connection"] == "close"
    assert "x-request-id" in refused.headers
    assert api.get("/v1/models").status_code == 200
    aborted = api.send("POST", "/abort_requests", headers={"Authorization": "Bearer admin"})
    assert aborted.status_code == 200
    rejections = 'ftllm:admission_rejections_total{engine="0",model_name="tiny/model",reason='
    assert f'{rejections}"draining"}} 1.0' in api.get("/metrics").text


@pytest.mark.usefixtures("long_answers")
def test_running_requests_finish(model: FakeModel, engine: FakeEngine) -> None:
    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        answer = asyncio.create_task(client.post("/v1/completions", json=BODY))
        await begun(engine)
        services.drain.on_signal(signal.SIGTERM)
        await services.drain.wind_down(services.in_flight, engine)
        assert services.in_flight.count == 0
        assert chunks_of(await answer)[-1]["choices"][0]["finish_reason"] == "length"
        assert services.drain.exit_code == DRAINED

    run(services_of(model), scenario)
    assert not engine.aborted


@pytest.mark.usefixtures("long_answers")
def test_the_rest_ends_with_an_error(model: FakeModel, engine: FakeEngine) -> None:
    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        stream = asyncio.create_task(client.post("/v1/completions", json=BODY))
        whole = {**BODY, "stream": False}
        answer = asyncio.create_task(client.post("/v1/completions", json=whole))
        await begun(engine)
        services.drain.on_signal(signal.SIGTERM)
        started = time.monotonic()
        await services.drain.wind_down(services.in_flight, engine)
        assert 0.1 <= time.monotonic() - started < 1
        last = chunks_of(await stream)[-1]  # checks that [DONE] follows
        assert last["error"]["code"] == "engine_stopped"
        assert error_of(await answer, 503)["code"] == "engine_stopped"
        assert services.drain.exit_code == TIMED_OUT

    run(services_of(model, drain_timeout=0.1), scenario)


@pytest.mark.usefixtures("long_answers")
def test_a_second_signal_ends_them_now(model: FakeModel, engine: FakeEngine) -> None:
    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        stream = asyncio.create_task(client.post("/v1/completions", json=BODY))
        await begun(engine)
        services.drain.on_signal(signal.SIGTERM)
        down = asyncio.create_task(services.drain.wind_down(services.in_flight, engine))
        await asyncio.sleep(0.1)
        assert not down.done()
        services.drain.on_signal(signal.SIGTERM)
        started = time.monotonic()
        await down
        assert time.monotonic() - started < 1
        assert "error" in chunks_of(await stream)[-1]
        assert services.drain.exit_code == BY_SIGNAL + signal.SIGTERM

    run(services_of(model), scenario)


def test_a_hung_engine_cannot_hold_it(model: FakeModel, engine: FakeEngine) -> None:
    async def scenario(client: httpx.AsyncClient, services: Services) -> None:
        engine.go.clear()
        stream = asyncio.create_task(client.post("/v1/completions", json=BODY))
        await begun(engine)
        for _ in range(2):
            services.drain.on_signal(signal.SIGINT)
        started = time.monotonic()
        await services.drain.wind_down(services.in_flight, engine)
        assert time.monotonic() - started < 2
        assert services.in_flight.count == 1
        assert services.drain.exit_code == BY_SIGNAL + signal.SIGINT
        engine.go.set()
        await stream

    run(services_of(model), scenario)


def test_nothing_to_wait_for(model: FakeModel, engine: FakeEngine) -> None:
    services = services_of(model)
    services.drain.on_signal(signal.SIGTERM)
    asyncio.run(asyncio.wait_for(services.drain.wind_down(services.in_flight, engine), 1))
    assert services.drain.exit_code == DRAINED


def test_a_full_queue_is_not_ready(model: FakeModel, engine: FakeEngine) -> None:
    async def scenario(client: httpx.AsyncClient, _: Services) -> None:
        engine.go.clear()
        answer = asyncio.create_task(client.post("/v1/completions", json={"prompt": "x"}))
        await begun(engine)
        assert (await client.get("/ready")).status_code == 200
        engine.max_live = 1
        ready = await client.get("/ready")
        assert ready.status_code == 503
        assert "queue is full" in ready.json()["status"]
        assert (await client.get("/live")).status_code == 200
        engine.go.set()
        await answer
        assert (await client.get("/ready")).status_code == 200

    run(services_of(model), scenario)
