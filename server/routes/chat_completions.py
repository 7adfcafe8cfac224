"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import RequestError
from ftllm.server.chat_answer import ChatAnswer
from ftllm.server.json_text import json_response
from ftllm.server.openapi import json_body
from ftllm.server.refusals import refuse_stream_options, refuse_unsupported_chat
from ftllm.server.sampling import choice_plans, sampling_params
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.services import Services
from ftllm.server.sse import EventStream, on_disconnect


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions", openapi_extra=json_body(ChatCompletionRequest))
    async def create_chat_completion(request: Request) -> Response:
        body = await services.bodies.read(request, ChatCompletionRequest)
        services.check_model(body.model)
        refuse_stream_options(body)
        refuse_unsupported_chat(body)
        params = sampling_params(
            body,
            vocab_size=services.model.tokenizer.vocab_size,
            max_tokens=_max_tokens(body),
            logprobs=_logprobs(body),
        )
        prompt = await services.prompts.chat(
            body.messages, variables=body.chat_template_kwargs or {}
        )
        services.log_prompts([prompt], request_id=request.state.request_id)

        head = services.answer_head("chatcmpl")
        answer = ChatAnswer(
            head,
            services.model.tokenizer,
            with_logprobs=params.logprobs is not None,
            include_usage=body.include_usage,
        )
        plans = choice_plans(services.model, [prompt], params, answer_id=head.answer_id)
        generation = services.generate(plans, n=params.n)
        if body.stream:
            frames = answer.frames(generation, n=params.n)
            hide_input = services.settings.hide_input
            return EventStream(frames, generation.close, hide_input=hide_input)
        async with on_disconnect(request.receive, generation.close):
            choices = await generation.collect()
        return json_response(answer.body(choices, generation.usage))

    return router


def _max_tokens(body: ChatCompletionRequest) -> int | None:
    """OpenAI's new and old name of one limit."""
    new, old = body.max_completion_tokens, body.max_tokens
    if new is not None and old is not None and new != old:
        raise RequestError(
            f"max_completion_tokens is {new} and max_tokens is {old}; give one of them.",
            param="max_tokens",
        )
    return old if new is None else new


def _logprobs(body: ChatCompletionRequest) -> int | None:
    if not body.logprobs:
        if body.top_logprobs:
            raise RequestError(
                "top_logprobs needs logprobs; set logprobs to true.", param="top_logprobs"
            )
        return None
    return body.top_logprobs or 0
