"""GET /v1/load (vLLM's /load, vllm-router's /get_load): how much this server has to do."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Load
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/load", include_in_schema=False)
    @router.get("/get_load", include_in_schema=False)
    @router.get("/v1/load", responses=answers(Load))
    async def load() -> Response:
        """`server_load` counts the requests being answered, those that wait included; `load` is
        another name of it."""
        stats = services.model.engine.stats()
        return json_response(
            {
                "server_load": services.in_flight.count,
                "load": services.in_flight.count,
                "running": stats.running,
                "waiting": stats.waiting,
                "kv_cache_usage": round(stats.kv_usage, 4),
            }
        )

    return router
