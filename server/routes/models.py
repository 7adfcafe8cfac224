"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import ModelCard, ModelList
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()
    card = {
        "id": services.model.name,
        "object": "model",
        "created": services.started,
        "owned_by": "ftllm",
        "root": services.model.name,
        "parent": None,
        "max_model_len": services.model.max_model_len,
        "tool_call_parser": services.dialects.tools.card(),
        "reasoning_parser": services.dialects.reasoning.card(),
    }

    @router.get("/v1/models", responses=answers(ModelList))
    async def list_models() -> Response:
        """Those that the key may use."""
        return json_response({"object": "list", "data": [card] if services.visible else []})

    @router.get("/v1/models/{model:path}", responses=answers(ModelCard))
    async def retrieve_model(model: str) -> Response:
        """`model` may hold slashes, as repo ids do. 404 unless it is the served one."""
        services.check_model(model)
        return json_response(card)

    return router
