"""GET /version."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Version
from ftllm.server.services import Services


def create_router(_: Services) -> APIRouter:
    router = APIRouter()
    body = {"version": version("ftllm")}

    @router.get("/version", responses=answers(Version))
    async def show_version() -> Response:
        return json_response(body)

    return router
