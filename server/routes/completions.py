"""POST /v1/completions."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import ContextLengthError, RequestError
from ftllm.server.completion_answer import CompletionAnswer
from ftllm.server.json_text import json_response
from ftllm.server.openapi import json_body
from ftllm.server.refusals import refuse_stream_options, refuse_unsupported_completion
from ftllm.server.sampling import choice_plans, sampling_params
from ftllm.server.schemas.completions import CompletionRequest
from ftllm.server.services import Services
from ftllm.server.sse import EventStream, on_disconnect

DEFAULT_MAX_TOKENS = 16  # OpenAI's


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions", openapi_extra=json_body(CompletionRequest))
    async def create_completion(request: Request) -> Response:
        body = await services.bodies.read(request, CompletionRequest)
        services.check_model(body.model)
        refuse_stream_options(body)
        refuse_unsupported_completion(body)
        _check_choices(body, limit=services.settings.max_choices)
        max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
        params = sampling_params(
            body,
            vocab_size=services.model.tokenizer.vocab_size,
            max_tokens=max(1, max_tokens),  # the engine always generates; see `generates`
            logprobs=body.logprobs,
            prompt_logprobs=body.logprobs if body.echo else None,
        )
        prompts = await services.prompts.completions(body.prompt, echo=bool(body.echo))
        services.log_prompts(prompts, request_id=request.state.request_id)

        head = services.answer_head("cmpl")
        answer = CompletionAnswer(
            head,
            services.model.tokenizer,
            with_logprobs=body.logprobs is not None,
            include_usage=body.include_usage,
        )
        plans = choice_plans(
            services.model, prompts, params, answer_id=head.answer_id, generates=max_tokens > 0
        )
        try:
            generation = services.generate(plans, n=params.n)
        except ContextLengthError as error:  # the engine does not know this endpoint's field
            raise ContextLengthError(str(error), param="prompt") from error
        if body.stream:
            frames = answer.frames(generation)
            hide_input = services.settings.hide_input
            return EventStream(frames, generation.close, hide_input=hide_input)
        async with on_disconnect(request.receive, generation.close):
            choices = await generation.collect()
        return json_response(answer.body(choices, generation.usage))

    return router


def _check_choices(body: CompletionRequest, *, limit: int) -> None:
    choices = len(body.prompt) * body.choices
    if choices > limit:
        raise RequestError(
            f"{len(body.prompt)} prompts with n = {body.choices} make {choices} choices; at most"
            f" {limit} fit one request. Send several requests.",
            param="prompt",
        )
    if body.max_tokens == 0 and not body.echo:
        raise RequestError(
            "max_tokens is 0, so there is nothing to answer; set it to at least 1, or set echo.",
            param="max_tokens",
        )
