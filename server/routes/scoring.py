"""POST /v1/rerank and /v1/score."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import RequestError
from ftllm.scoring import plan_scores
from ftllm.server.json_text import json_response
from ftllm.server.openapi import json_body
from ftllm.server.pooled import PooledResult
from ftllm.server.schemas.pooling import PoolingFields, RerankRequest, ScoreRequest
from ftllm.server.services import Services

RERANK_PATHS = ("/v1/rerank", "/rerank", "/v2/rerank")
SCORE_PATHS = ("/v1/score", "/score")


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    async def rerank(request: Request) -> Response:
        """The documents, the one that answers the query best first."""
        body = await services.bodies.read(request, RerankRequest)
        services.check_model(body.model)
        pairs = [(body.query, document) for document in body.documents]
        scores, result = await _score(services, request, body, pairs)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        results: list[dict[str, object]] = []
        for place in order[: body.top_n]:
            entry: dict[str, object] = {"index": place, "relevance_score": scores[place]}
            if body.return_documents is not False:
                entry["document"] = {"text": body.documents[place]}
            results.append(entry)
        head = services.answer_head("rerank")
        return json_response(
            {
                "id": head.answer_id,
                "model": head.model,
                "results": results,
                "scoring": services.model.pooling.scoring,
                "usage": result.usage(),
            }
        )

    async def score(request: Request) -> Response:
        """A score for each pair, in order."""
        body = await services.bodies.read(request, ScoreRequest)
        services.check_model(body.model)
        scores, result = await _score(services, request, body, _pairs(body))
        data = [
            {"index": index, "object": "score", "score": value}
            for index, value in enumerate(scores)
        ]
        return json_response(
            {
                **services.answer_head("score").fields("list"),
                "data": data,
                "scoring": services.model.pooling.scoring,
                "usage": result.usage(),
            }
        )

    for path in RERANK_PATHS:
        router.post(path, openapi_extra=json_body(RerankRequest))(rerank)
    for path in SCORE_PATHS:
        router.post(path, openapi_extra=json_body(ScoreRequest))(score)
    return router


def _pairs(body: ScoreRequest) -> list[tuple[str, str]]:
    first, second = body.text_1, body.text_2
    if len(first) == 1:
        first = first * len(second)
    if len(first) != len(second):
        raise RequestError(
            f"text_1 has {len(first)} texts and text_2 {len(second)}; give one text_1, or as many"
            " as text_2 has.",
            param="text_1",
        )
    return list(zip(first, second, strict=True))


def _check_size(pairs: Sequence[tuple[str, str]], *, limit: int) -> None:
    """Such a model reads the query again with each document, so that a body can ask for much more
    text than it holds."""
    size = sum(len(first) + len(second) for first, second in pairs)
    if size > limit:
        raise RequestError(
            f"The {len(pairs)} pairs have {size} characters, the query counted for each; at most"
            f" {limit} fit one request. Send fewer documents, or a shorter query.",
            param="documents",
        )


async def _score(
    services: Services,
    request: Request,
    body: PoolingFields,
    pairs: Sequence[tuple[str, str]],
) -> tuple[list[float], PooledResult]:
    if services.model.pooling.scoring != "cosine":
        _check_size(pairs, limit=services.settings.max_body_bytes)
    plan = plan_scores(services.model.pooling, pairs)
    if body.truncate_prompt_tokens is not None and not plan.add_special_tokens:
        raise RequestError(
            "truncate_prompt_tokens: this model scores by a prompt whose end is the question, so it"
            " cannot be cut. Shorten the documents.",
            param="truncate_prompt_tokens",
            code="unsupported_value",
        )
    prompts = await services.pooled_prompts.prepare(
        plan.texts,
        param="documents",
        add_special_tokens=plan.add_special_tokens,
        truncate=body.truncate_prompt_tokens,
    )
    result = await services.pool(request, prompts, plan.params)
    scores: list[float] = []
    for pair in range(len(pairs)):
        scores.append(plan.score(pair, result.values))
        await asyncio.sleep(0)  # other requests get their turn
    return scores, result
