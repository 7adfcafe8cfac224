"""GET /metrics: for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
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
    async def metrics() -> Response:
        """In Prometheus's text format, whatever `Accept` asks for. prometheus-client's OpenMetrics
        writes the colon of a name as an underscore, and Prometheus asks for OpenMetrics.
        """
        return Response(
            generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )

    return router
