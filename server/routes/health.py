"""GET /health: is the engine alive and getting on?"""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Health
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/health", responses=answers(Health))
    async def health() -> Response:
        """200 while the engine takes requests and finishes steps, else 503 with the reason."""
        stats = services.model.engine.stats()
        reason = services.engine_problem(time.monotonic())
        body = {
            "status": "ok" if reason is None else "unhealthy",
            "reason": reason,
            "running": stats.running,
            "waiting": stats.waiting,
            "kv_blocks_used": stats.kv_blocks_used,
            "kv_cache_usage": round(stats.kv_usage, 4),
        }
        return json_response(body, status=200 if reason is None else 503)

    return router
