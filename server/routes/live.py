"""GET /live: would a restart help?"""

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

    @router.get("/live", responses=answers(Status))
    async def live() -> Response:
        """200 while the engine finishes steps or has nothing to do; else 503 with the reason."""
        problem = services.live_problem(time.monotonic())
        if problem is None:
            return json_response({"status": "ok"})
        return json_response({"status": problem}, status=503)

    return router
