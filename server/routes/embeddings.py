"""POST /v1/embeddings."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.json_text import encode_json
from ftllm.server.openapi import json_body
from ftllm.server.pooled import PooledResult
from ftllm.server.schemas.pooling import EmbeddingRequest
from ftllm.server.services import Services


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/embeddings", openapi_extra=json_body(EmbeddingRequest))
    async def create_embeddings(request: Request) -> Response:
        body = await services.bodies.read(request, EmbeddingRequest)
        services.check_model(body.model)
        params = services.model.pooling.embedding(body.dimensions)
        prompts = await services.pooled_prompts.prepare(
            body.input, param="input", truncate=body.truncate_prompt_tokens
        )
        result = await services.pool(request, prompts, params)
        as_base64 = body.encoding_format == "base64"
        text = await _body(result, services.model.name, as_base64=as_base64)
        return Response(text, media_type="application/json")

    return router


async def _body(result: PooledResult, model: str, *, as_base64: bool) -> str:
    """Other requests get their turn after each vector: thousands of them take a second."""
    items: list[str] = []
    for index, values in enumerate(result.values):
        vector = _base64(values) if as_base64 else values
        items.append(encode_json({"object": "embedding", "index": index, "embedding": vector}))
        await asyncio.sleep(0)
    tail = encode_json({"model": model, "usage": result.usage()})[1:]
    return f'{{"object":"list","data":[{",".join(items)}],{tail}'


def _base64(values: Sequence[float]) -> str:
    """float32, little-endian, as the SDKs read it."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
