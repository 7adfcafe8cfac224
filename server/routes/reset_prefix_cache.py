"""POST /reset_prefix_cache, for admins."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.body import refuse_foreign_form
from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Status
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/reset_prefix_cache", responses=answers(Status))
    async def reset_prefix_cache(request: Request) -> Response:
        """Later requests compute their prompts anew; running ones go on undisturbed."""
        refuse_foreign_form(request)
        services.model.engine.reset_prefix_cache()
        return json_response({"status": "ok"})

    return router
