"""GET /health: /live and /ready at once, with figures."""

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
        """200 while the server is live and ready, else 503 with the reason."""
        now = time.monotonic()
        stats = services.model.engine.stats()
        reason = services.ready_problem(now)
        body = {
            "status": "ok" if reason is None else "unhealthy",
            "reason": reason,
            "live": services.live_problem(now) is None,
            "ready": reason is None,
            "draining": services.drain.draining,
            "running": stats.running,
            "waiting": stats.waiting,
            "kv_blocks_used": stats.kv_blocks_used,
            "kv_cache_usage": round(stats.kv_usage, 4),
        }
        return json_response(body, status=200 if reason is None else 503)

    return router
