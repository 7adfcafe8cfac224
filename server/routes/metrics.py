"""GET /metrics: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.metrics.collector import ModelCollector
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()
    registry = CollectorRegistry()
    registry.register(
        ModelCollector(services.model, services.metrics, prefix=services.settings.metrics_prefix)
    )
    ProcessCollector(registry=registry)  # memory, processor time, open files, start

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(request: Request) -> Response:
        """In Prometheus's text format, or OpenMetrics where `Accept` asks for it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return router
