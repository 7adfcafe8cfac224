"""POST /v1/completions."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ftllm.errors import ContextLengthError, RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.best_of import best_choices
from ftllm.server.completion_answer import CompletionAnswer
from ftllm.server.json_text import json_answer
from ftllm.server.openapi import answers, json_body
from ftllm.server.prompts import TextOptions
from ftllm.server.refusals import (
    refuse_stream_options,
    refuse_unsupported_completion,
    refuse_unsupported_sampling,
)
from ftllm.server.sampling import Scheduling, choice_plans, sampling_params, truncation
from ftllm.server.schemas.answers import Completion
from ftllm.server.schemas.completions import CompletionRequest
from ftllm.server.services import Services
from ftllm.server.sse import on_disconnect

DEFAULT_MAX_TOKENS = 16  # OpenAI's


def create_router(services: Services) -> APIRouter:
    router = APIRouter()

    @router.post(
        "/v1/completions",
        openapi_extra=json_body(CompletionRequest),
        responses=answers(Completion, streams=True),
    )
    async def create_completion(request: Request) -> Response:
        body = await services.bodies.read(request, CompletionRequest)
        services.check_model(body.model)
        refuse_stream_options(body.stream_options, stream=body.stream)
        refuse_unsupported_sampling(body)
        refuse_unsupported_completion(body)
        _check_choices(body, limit=services.settings.max_choices)
        max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
        params = _params(body, services, max_tokens=max_tokens)
        limit = services.model.max_model_len
        options = TextOptions(
            echo=bool(body.echo),
            add_special_tokens=body.add_special_tokens is not False,
            suffix=body.suffix or "",
            truncation=truncation(body, max_model_len=limit, max_tokens=max_tokens),
        )
        prompts = await services.prompts.completions(body.prompt, options)
        bad_words = await services.prompts.bad_words(params.bad_words)
        grammar = await services.grammars.compiled(params.grammar)
        services.log_prompts(prompts, request_id=request.state.request_id)

        head = services.answer_head("cmpl")
        details = AnswerDetails.asked_by(body, logprobs=body.logprobs is not None)
        answer = CompletionAnswer(head, services.model.tokenizer, details)
        plans = choice_plans(
            services.model,
            prompts,
            params,
            scheduling=Scheduling.of(body),
            bad_words=bad_words,
            grammar=grammar,
            answer_id=head.answer_id,
            generates=max_tokens > 0,
        )
        try:
            generation = services.generate(plans, n=params.n)
        except ContextLengthError as error:  # the engine does not know this endpoint's field
            raise ContextLengthError(str(error), param="prompt") from error
        if body.stream:
            frames = answer.frames(generation)
            return services.event_stream(frames, generation.close)
        async with on_disconnect(request.receive, generation.close):
            drawn = await generation.collect()
        choices = best_choices(drawn, n=body.choices, best_of=params.n)
        return await json_answer(
            lambda: answer.body(choices, generation.usage),
            entries=sum(choice.entries for choice in choices),
        )

    return router


def _check_choices(body: CompletionRequest, *, limit: int) -> None:
    choices = len(body.prompt) * body.drawn_choices
    if choices > limit:
        raise RequestError(
            f"{len(body.prompt)} prompts with {body.drawn_choices} answers each (n or best_of) make"
            f" {choices} choices; at most {limit} fit one request. Send several requests.",
            param="prompt",
        )
    if body.max_tokens == 0 and not body.echo and body.prompt_logprobs is None:
        raise RequestError(
            "max_tokens is 0, so there is nothing to answer; set it to at least 1, or set echo or"
            " prompt_logprobs.",
            param="max_tokens",
        )


def _params(body: CompletionRequest, services: Services, *, max_tokens: int) -> SamplingParams:
    """The engine always generates a token, so `max_tokens` 0 becomes 1; see `generates`."""
    prompt_logprobs = [body.prompt_logprobs, body.logprobs if body.echo else None]
    params = sampling_params(
        body,
        vocab_size=services.model.tokenizer.vocab_size,
        max_tokens=max(1, max_tokens),
        logprobs=body.logprobs,
        prompt_logprobs=max(
            (count for count in prompt_logprobs if count is not None), default=None
        ),
    )
    if body.drawn_choices > body.choices:  # the best are those of the highest log-probability
        params = replace(params, n=body.drawn_choices, logprobs=body.logprobs or 0)
    markers = services.prompts.fill_in_middle
    if body.suffix and markers is not None and not body.ignore_eos:
        stops = {*params.stop_token_ids, *markers.stop_token_ids}
        params = replace(params, stop_token_ids=stops)
    return params
