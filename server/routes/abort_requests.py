"""POST /abort_requests, for admins: ends everything that runs or waits."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.body import refuse_foreign_form
from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import Aborted
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/abort_requests", responses=answers(Aborted))
    async def abort_requests(request: Request) -> Response:
        """Their clients get an error. `aborted` counts sequences: a request with n = 2 has two."""
        refuse_foreign_form(request)
        return json_response({"aborted": services.model.engine.abort_all()})

    return router
