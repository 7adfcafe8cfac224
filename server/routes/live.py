"""GET /live: would a restart help?"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Status
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/live", responses=answers(Status))
    async def live() -> Response:
        """200 as long as the engine's thread runs, however busy it is; else 503."""
        if services.model.engine.stats().alive:
            return json_response({"status": "ok"})
        return json_response({"status": "The engine has stopped."}, status=503)

    return router
