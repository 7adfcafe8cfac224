"""GET and POST /log_level, for admins."""

from __future__ import annotations

import logging

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers, json_body
from ftllm.server.schemas.answers import LogLevel
from ftllm.server.schemas.log_level import LogLevelRequest
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()
    logger = logging.getLogger("ftllm")

    def body() -> dict[str, object]:
        return {"level": logging.getLevelName(logger.getEffectiveLevel()).lower()}

    @router.get("/log_level", responses=answers(LogLevel))
    async def show_log_level() -> Response:
        return json_response(body())

    @router.post(
        "/log_level", openapi_extra=json_body(LogLevelRequest), responses=answers(LogLevel)
    )
    async def set_log_level(request: Request) -> Response:
        """At debug, prompts are logged unless the server hides them."""
        wanted = await services.bodies.read(request, LogLevelRequest)
        logger.setLevel(wanted.level.upper())
        return json_response(body())

    return router
