"""POST /detokenize: the text of token ids."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers, json_body
from ftllm.server.schemas.answers import Detokenization
from ftllm.server.schemas.tokenize import DetokenizeRequest
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/detokenize", openapi_extra=json_body(DetokenizeRequest), responses=answers(Detokenization)
    )
    async def detokenize(request: Request) -> Response:
        body = await services.bodies.read(request, DetokenizeRequest)
        services.check_model(body.model)
        return json_response({"prompt": await services.prompts.text_of(body.tokens)})

    return router
