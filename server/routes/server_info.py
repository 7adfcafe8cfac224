"""GET /server_info, for admins: what was loaded, how it is set up, what the engine has done."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import ServerInfo
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.get("/server_info", responses=answers(ServerInfo))
    async def server_info() -> Response:
        model = services.model
        return json_response(
            {
                "version": version("ftllm"),
                "started": services.started,
                "model": model.name,
                "max_model_len": model.max_model_len,
                "summary": list(model.summary),
                "settings": _settings(services.settings),
                "in_flight": services.in_flight.count,
                "engine": asdict(model.engine.stats()),
            }
        )

    return router


def _settings(settings: ServerSettings) -> dict[str, object]:
    """Without the keys."""
    body = asdict(settings)
    del body["api_keys"], body["admin_api_keys"], body["metrics_keys"]
    body["api_key_files"] = [str(path) for path in settings.api_key_files]
    if settings.response_store is not None:
        body["response_store"] = str(settings.response_store)
    body["tls"] = settings.tls is not None
    return body
