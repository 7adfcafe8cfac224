"""POST /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import RequestError
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.chat_answer import ChatAnswer
from ftllm.server.json_text import json_response
from ftllm.server.openapi import answers, json_body
from ftllm.server.prompts import ChatOptions
from ftllm.server.refusals import (
    refuse_stream_options,
    refuse_unsupported_chat,
    refuse_unsupported_sampling,
)
from ftllm.server.sampling import Scheduling, choice_plans, sampling_params, truncation
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
        refuse_stream_options(body)
        refuse_unsupported_sampling(body)
        refuse_unsupported_chat(body)
        params = sampling_params(
            body,
            vocab_size=services.model.tokenizer.vocab_size,
            max_tokens=_max_tokens(body),
            logprobs=_logprobs(body),
            prompt_logprobs=body.prompt_logprobs,
        )
        limit = services.model.max_model_len
        continues = bool(body.continue_final_message)
        options = ChatOptions(
            variables=body.chat_template_kwargs or {},
            add_generation_prompt=body.add_generation_prompt is not False and not continues,
            continue_final_message=continues,
            add_special_tokens=bool(body.add_special_tokens),
            truncation=truncation(body, max_model_len=limit, max_tokens=params.max_tokens),
        )
        prompt = await services.prompts.chat(body.messages, options)
        bad_words = await services.prompts.bad_words(params.bad_words)
        services.log_prompts([prompt], request_id=request.state.request_id)

        head = services.answer_head("chatcmpl")
        details = AnswerDetails.asked_by(body, logprobs=params.logprobs is not None)
        answer = ChatAnswer(head, services.model.tokenizer, details)
        plans = choice_plans(
            services.model,
            [prompt],
            params,
            scheduling=Scheduling.of(body),
            bad_words=bad_words,
            answer_id=head.answer_id,
        )
        generation = services.generate(plans, n=params.n)
        if body.stream:
            frames = answer.frames(generation, n=params.n)
            return services.event_stream(frames, generation.close)
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
