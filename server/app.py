"""The HTTP application: routes inside limits inside authentication inside the request envelope."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from ftllm.server.auth import PUBLIC_PATHS, KeyGate, Keys
from ftllm.server.connection_gate import ConnectionGate
from ftllm.server.drain import DrainGate
from ftllm.server.envelope import RequestEnvelope
from ftllm.server.errors import ANSWERED_ERRORS, handle_error
from ftllm.server.limit_gate import LimitGate
from ftllm.server.model import ServedModel
from ftllm.server.openapi import DocumentedAPI
from ftllm.server.rate_headers import EXPOSED_HEADERS
from ftllm.server.routes import (
    abort_requests,
    chat_completions,
    completions,
    detokenize,
    embeddings,
    health,
    live,
    load,
    loads,
    log_level,
    messages,
    metrics,
    models,
    ready,
    reset_prefix_cache,
    responses,
    scoring,
    server_info,
    tokenize,
)
from ftllm.server.routes import (
    version as version_route,
)
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.schemas.completions import CompletionRequest
from ftllm.server.schemas.log_level import LogLevelRequest
from ftllm.server.schemas.messages import CountTokensRequest, MessagesRequest
from ftllm.server.schemas.pooling import EmbeddingRequest, RerankRequest, ScoreRequest
from ftllm.server.schemas.responses import InputTokensRequest, ResponsesRequest
from ftllm.server.schemas.tokenize import DetokenizeRequest, TokenizeRequest
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings

server_log = logging.getLogger("ftllm.server")

ROUTES = (
    health,
    live,
    ready,
    version_route,
    load,
    loads,
    metrics,
    models,
    tokenize,
    detokenize,
    completions,
    chat_completions,
    responses,
    messages,
    embeddings,
    scoring,
)
ADMIN_ROUTES = (server_info, log_level, reset_prefix_cache, abort_requests)
BODY_SCHEMAS = (
    ChatCompletionRequest,
    CompletionRequest,
    ResponsesRequest,
    InputTokensRequest,
    MessagesRequest,
    CountTokensRequest,
    EmbeddingRequest,
    RerankRequest,
    ScoreRequest,
    TokenizeRequest,
    DetokenizeRequest,
    LogLevelRequest,
)


def create_app(model: ServedModel, settings: ServerSettings) -> FastAPI:
    """An app that serves `model`, whose engine the caller starts and shuts down.

    Raises `OptionError` when a file of API keys is unusable.
    """
    return create_app_of(Services(model, settings))


def create_app_of(services: Services) -> FastAPI:
    """`create_app`, for a caller who keeps the services."""
    settings = services.settings
    keys = Keys(settings)
    admin_routers = [route.create_router(services) for route in ADMIN_ROUTES]
    admin_paths = {
        route.path
        for router in admin_routers
        for route in router.routes
        if isinstance(route, APIRoute)
    }

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for line in services.dialects.lines():
            server_log.info("%s", line)
        with _reloading_on_sighup(keys, enabled=bool(settings.api_key_files)):
            async with services.pulse.beating():
                yield
        await services.close()

    middleware = [
        *_cors(settings.cors_origins),
        Middleware(
            RequestEnvelope,
            hide_input=settings.hide_input,
            in_flight=services.in_flight,
            metrics=services.metrics,
            tracer=services.tracer,
        ),
        Middleware(
            ConnectionGate,
            limit=settings.limits.max_connections,
            public_paths=PUBLIC_PATHS,
        ),
        Middleware(
            DrainGate,
            drain=services.drain,
            metrics=services.metrics,
            admin_paths=admin_paths,
        ),
        Middleware(KeyGate, keys=keys, admin_paths=admin_paths),
        Middleware(LimitGate, accounts=keys.accounts, admin_paths=admin_paths),
    ]
    app = DocumentedAPI(
        title="ftllm",
        version=version("ftllm"),
        lifespan=lifespan,
        middleware=middleware,
        docs_url=None,  # the pages load scripts from a third party
        redoc_url=None,
    )
    app.body_schemas = BODY_SCHEMAS
    if settings.guarded:
        app.public_paths = keys.public_paths
    for route in ROUTES:
        app.include_router(route.create_router(services))
    for router in admin_routers:
        app.include_router(router)
    for error in ANSWERED_ERRORS:
        app.add_exception_handler(error, handle_error)
    return app


def _cors(origins: Collection[str]) -> list[Middleware]:
    """Around everything: browsers ask whether they may send a key before they send it, and read no
    answer that does not say that they may. Keys travel in headers, so cookies are not allowed."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["Retry-After", "X-Request-Id", "request-id", *EXPOSED_HEADERS],
        )
    ]


@contextmanager
def _reloading_on_sighup(keys: Keys, *, enabled: bool) -> Iterator[None]:
    """Only the main thread gets signals, so elsewhere there is nothing to do."""
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, keys.reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
