"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.server.answer_details import AnswerDetails
from ftllm.server.chat_answer import ChatAnswer
from ftllm.server.chat_request import chat_turn
from ftllm.server.json_text import json_answer
from ftllm.server.openapi import answers, json_body
from ftllm.server.refusals import (
    refuse_stream_options,
    refuse_unsupported_chat,
    refuse_unsupported_sampling,
)
from ftllm.server.schemas.answers import ChatCompletion
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.services import Services
from ftllm.server.sse import on_disconnect


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/v1/chat/completions",
        openapi_extra=json_body(ChatCompletionRequest),
        responses=answers(ChatCompletion, streams=True),
    )
    async def create_chat_completion(request: Request) -> Response:
        body = await services.bodies.read(request, ChatCompletionRequest)
        services.check_model(body.model)
        refuse_stream_options(body.stream_options, stream=body.stream)
        refuse_unsupported_sampling(body)
        refuse_unsupported_chat(body)
        turn = chat_turn(body, services.model)
        prepared = await services.turns.prepare(turn)
        services.log_prompts([prepared.prompt], request_id=request.state.request_id)

        head = services.answer_head("chatcmpl")
        details = AnswerDetails.asked_by(body, logprobs=turn.params.logprobs is not None)
        answer = ChatAnswer(
            head, services.model.tokenizer, details, with_functions=body.uses_functions
        )
        running = services.turns.start(prepared, answer_id=head.answer_id)
        if body.stream:
            frames = answer.frames(running, n=turn.params.n)
            return services.event_stream(frames, running.close)
        async with on_disconnect(request.receive, running.close):
            choices = await running.collect()
        return await json_answer(
            lambda: answer.body(choices, running.usage),
            entries=sum(
                len(choice.logprobs) + len(choice.prompt_logprobs or ()) for choice in choices
            ),
        )

    return router
