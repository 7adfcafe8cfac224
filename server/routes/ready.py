"""GET /ready: should this server get requests?"""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Status
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/ready", responses=answers(Status))
    async def ready() -> Response:
        """200 while requests are welcome: the engine is live, the queue has room, and the server is
        not shutting down; else 503 with the reason."""
        problem = services.ready_problem(time.monotonic())
        if problem is None:
            return json_response({"status": "ok"})
        return json_response({"status": problem}, status=503)

    return router
