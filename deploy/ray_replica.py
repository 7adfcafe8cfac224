"""A replica on Ray Serve: a model, its engine and the HTTP application, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Coroutine

from ftllm.deploy.asgi_exchange import AsgiExchange, HttpHead, HttpRequest
from ftllm.errors import EngineStoppedError
from ftllm.loading import LoadOptions, load_model
from ftllm.progress import SilentProgress
from ftllm.server.app import create_app_of
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings


class EngineReplica:
    """What Ray Serve makes of this class is a deployment; see `ftllm.deploy.ray`."""

    def __init__(self, load: LoadOptions, settings: ServerSettings) -> None:
        model = load_model(load, progress=SilentProgress())
        self._services = Services(model, settings)
        self._app = create_app_of(self._services)
        model.engine.start()

    async def answer(self, request: HttpRequest) -> AsyncGenerator[HttpHead | bytes, None]:
        """The head, then the body's pieces. Ray cancels this when the client hangs up."""
        exchange = AsgiExchange(self._app, request)
        pieces = exchange.pieces()
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    async def check_health(self) -> None:
        """Ray Serve replaces a replica for which this raises."""
        problem = self._services.live_problem(time.monotonic())
        if problem is not None:
            raise EngineStoppedError(problem)

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Ray Serve calls this when the replica's last request is answered, and awaits what it
        gives; Python calls it again, for nothing."""
        services = self.__dict__.pop("_services", None)
        return None if services is None else _close(services)


async def _close(services: Services) -> None:
    await services.close()
    services.model.engine.shutdown()
