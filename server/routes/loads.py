"""GET /v1/loads, in SGLang's shape: what routers made for it weigh replicas by."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.metadata import version

from fastapi import APIRouter
from starlette.responses import Response

from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers
from ftllm.server.schemas.answers import EngineLoads
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()
    running_version = version("ftllm")

    @router.get("/v1/loads", responses=answers(EngineLoads))
    async def loads() -> Response:
        """One engine, so one entry. Tokens are counted in whole KV blocks. A query that selects
        parts, as SGLang has it, changes nothing: the answer is small."""
        stats = services.model.engine.stats()
        block_size = services.model.facts.kv_block_size
        queried = stats.prefix_queried_tokens
        entry = {
            "dp_rank": 0,
            "num_running_reqs": stats.running,
            "num_waiting_reqs": stats.waiting,
            "num_total_reqs": stats.running + stats.waiting,
            "num_used_tokens": stats.kv_blocks_used * block_size,
            "max_total_num_tokens": stats.kv_blocks * block_size,
            "token_usage": round(stats.kv_usage, 4),
            "cache_hit_rate": round(stats.prefix_hit_tokens / queried, 4) if queried else 0.0,
        }
        return json_response(
            {
                "timestamp": datetime.now(timezone.utc).isoformat(),
                "version": running_version,
                "dp_rank_count": 1,
                "loads": [entry],
            }
        )

    return router
