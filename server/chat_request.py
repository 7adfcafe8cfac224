"""The body of /v1/chat/completions as a chat turn."""

from __future__ import annotations

from ftllm.errors import RequestError
from ftllm.server.chat_history import read_history
from ftllm.server.chat_turn import ChatTurn
from ftllm.server.model import ServedModel
from ftllm.server.prompts import ChatOptions
from ftllm.server.sampling import Scheduling, sampling_params, truncation
from ftllm.server.schemas.chat import ChatCompletionRequest
from ftllm.server.thinking import ThinkingWish
from ftllm.server.tool_choice import read_tools


def chat_turn(body: ChatCompletionRequest, model: ServedModel) -> ChatTurn:
    """Raises `RequestError` naming the field that does not fit."""
    params = sampling_params(
        body,
        vocab_size=model.tokenizer.vocab_size,
        max_tokens=_max_tokens(body),
        logprobs=_logprobs(body),
        prompt_logprobs=body.prompt_logprobs,
    )
    continues = bool(body.continue_final_message)
    return ChatTurn(
        messages=read_history(body.messages),
        tools=read_tools(body),
        params=params,
        thinking=ThinkingWish(
            effort=body.reasoning_effort,
            budget=body.thinking_token_budget,
            visible=body.include_reasoning is not False,
        ),
        options=ChatOptions(
            variables=body.chat_template_kwargs or {},
            add_generation_prompt=body.add_generation_prompt is not False and not continues,
            continue_final_message=continues,
            add_special_tokens=bool(body.add_special_tokens),
            truncation=truncation(
                body, max_model_len=model.max_model_len, max_tokens=params.max_tokens
            ),
        ),
        scheduling=Scheduling.of(body),
    )


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
