"""POST /v1/messages and /v1/messages/count_tokens: Anthropic's API."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.answer_blocks import AnswerBlocks
from ftllm.server.json_text import json_response
from ftllm.server.messages_answer import MESSAGES_STREAM, MessagesAnswer
from ftllm.server.messages_turn import counted_turn, messages_turn, start_within_context
from ftllm.server.openapi import answers, json_body
from ftllm.server.schemas.answers import CountedTokens, MessagesReply
from ftllm.server.schemas.messages import CountTokensRequest, MessagesRequest
from ftllm.server.services import Services
from ftllm.server.sse import on_disconnect


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/v1/messages",
        openapi_extra=json_body(MessagesRequest),
        responses=answers(MessagesReply, streams=True),
    )
    async def create_message(request: Request) -> Response:
        body = await services.bodies.read(request, MessagesRequest)
        services.check_model(body.model)
        prepared = await services.turns.prepare(messages_turn(body, services.thinking))
        services.log_prompts([prepared.prompt], request_id=request.state.request_id)

        head = services.answer_head("msg", separator="_")
        running, fills_context = start_within_context(
            services.turns, prepared, answer_id=head.answer_id
        )
        answer = MessagesAnswer(
            answer_id=head.answer_id, model=head.model, fills_context=fills_context
        )
        if body.stream:
            frames = answer.frames(running)
            return services.event_stream(frames, running.close, form=MESSAGES_STREAM)
        blocks = AnswerBlocks()
        async with on_disconnect(request.receive, running.close):
            await blocks.collect(running)
        return json_response(answer.body(blocks, running.usage))

    @router.post(
        "/v1/messages/count_tokens",
        openapi_extra=json_body(CountTokensRequest),
        responses=answers(CountedTokens),
    )
    async def count_tokens(request: Request) -> Response:
        body = await services.bodies.read(request, CountTokensRequest)
        services.check_model(body.model)
        prompt = await services.turns.rendered(counted_turn(body, services.thinking))
        return json_response({"input_tokens": len(prompt.ids)})

    return router
