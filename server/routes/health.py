"""GET /health: is the engine alive and getting on?"""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import encode_json
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> Response:
        """200 while the engine takes requests and finishes steps, else 503 with the reason."""
        stats = services.model.engine.stats()
        stalled = stats.stalled_seconds(time.monotonic())
        reason = None
        if not stats.alive:
            reason = "The engine has stopped."
        elif stalled > services.settings.stall_timeout:
            reason = f"The engine has work, but has finished no step for {stalled:.0f} s."
        body = {
            "status": "ok" if reason is None else "unhealthy",
            "reason": reason,
            "running": stats.running,
            "waiting": stats.waiting,
            "kv_blocks_used": stats.kv_blocks_used,
            "kv_cache_usage": round(stats.kv_usage, 4),
        }
        return Response(
            encode_json(body),
            status_code=200 if reason is None else 503,
            media_type="application/json",
        )

    return router
