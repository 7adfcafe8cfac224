"""The HTTP application: routes inside authentication inside the request envelope."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware

from ftllm.server.auth import KeyGate, KeyRing
from ftllm.server.envelope import RequestEnvelope
from ftllm.server.errors import ANSWERED_ERRORS, handle_error
from ftllm.server.model import ServedModel
from ftllm.server.openapi import DocumentedAPI
from ftllm.server.routes import (
    chat_completions,
    completions,
    embeddings,
    health,
    models,
    scoring,
)
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.schemas.completions import CompletionRequest
from ftllm.server.schemas.pooling import EmbeddingRequest, RerankRequest, ScoreRequest
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings

ROUTES = (health, models, completions, chat_completions, embeddings, scoring)
BODY_SCHEMAS = (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
    RerankRequest,
    ScoreRequest,
)


def create_app(model: ServedModel, settings: ServerSettings) -> FastAPI:
    """An app that serves `model`, whose engine the caller starts and shuts down."""
    services = Services(model, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        services.close()

    middleware = [Middleware(RequestEnvelope, hide_input=settings.hide_input)]
    if settings.api_keys:
        middleware.append(Middleware(KeyGate, keys=KeyRing(settings.api_keys)))
    app = DocumentedAPI(
        title="ftllm",
        version=version("ftllm"),
        lifespan=lifespan,
        middleware=middleware,
        docs_url=None,  # the pages load scripts from a third party
        redoc_url=None,
    )
    app.body_schemas = BODY_SCHEMAS
    for route in ROUTES:
        app.include_router(route.create_router(services))
    for error in ANSWERED_ERRORS:
        app.add_exception_handler(error, handle_error)
    return app
