"""A replica's engine and application, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from ftllm.deploy.asgi_exchange import HttpHead, HttpRequest
from ftllm.deploy.ray_replica import EngineReplica
from ftllm.errors import EngineStoppedError
from ftllm.loading import LoadOptions
from ftllm.server.settings import ServerSettings

MODEL = "smollm2-135m"

pytestmark = pytest.mark.e2e


def ending(replica: EngineReplica) -> Coroutine[None, None, None]:
    found = replica.__del__()
    assert found is not None
    return found


def test_it_answers_and_closes_what_it_has(
    model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    load = LoadOptions(model=str(model_file(MODEL)), tokens=512, threads=1)
    settings = ServerSettings(response_store=tmp_path / "responses.db")

    async def scenario() -> None:
        replica = EngineReplica(load, settings)
        await replica.check_health()
        models = HttpRequest(method="GET", path="/v1/models")
        head, *body = [piece async for piece in replica.answer(models)]
        assert isinstance(head, HttpHead)
        assert head.status == 200
        assert body
        await ending(replica)
        assert replica.__del__() is None  # as Python calls it

    asyncio.run(scenario())
    asyncio.run(scenario())  # the file of responses is free again


def test_a_stopped_engine_is_no_healthy_replica(model_file: Callable[[str], Path]) -> None:
    load = LoadOptions(model=str(model_file(MODEL)), tokens=512, threads=1)

    async def scenario() -> None:
        replica = EngineReplica(load, ServerSettings())
        replica._services.model.engine.shutdown()
        with pytest.raises(EngineStoppedError):
            await replica.check_health()
        await ending(replica)

    asyncio.run(scenario())
