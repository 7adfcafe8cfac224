"""The body of /v1/responses as a chat turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ftllm.errors import ContextLengthError, RequestError
from ftllm.sampling_params import SamplingParams
from ftllm.server.chat_turn import ChatTurn, ChatTurns, PreparedTurn
from ftllm.server.conversation import Message
from ftllm.server.prompts import ChatOptions
from ftllm.server.responses_history import read_items
from ftllm.server.responses_tools import read_response_tools
from ftllm.server.sampling import Scheduling
from ftllm.server.schemas.responses import InputItem, InputTokensRequest, ResponsesRequest
from ftllm.server.thinking import ThinkingWish
from ftllm.text.grammar import Grammar

LOGPROBS = "message.output_text.logprobs"
# Thinking is not encrypted here: it is told, and taken back, in the clear.
ENCRYPTED = "reasoning.encrypted_content"

# Fields of the other endpoints, which shared code names, and what they are called here.
_NAMES = {
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "max_tokens": "max_output_tokens",
}


@contextmanager
def own_field_names() -> Iterator[None]:
    """Errors that are raised within name this endpoint's fields."""
    try:
        yield
    except RequestError as error:
        if error.param not in _NAMES:
            raise
        raise RequestError(str(error), param=_NAMES[error.param], code=error.code) from error


def responses_turn(body: ResponsesRequest, earlier: Sequence[InputItem]) -> ChatTurn:
    """`earlier` are the items of the response that this one continues. Raises `RequestError` naming
    the field that does not fit."""
    _refuse_unsupported(body)
    turn = input_turn(body, earlier)
    params = SamplingParams(
        max_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=0 if body.top_k == -1 else body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        seed=body.seed,
        logprobs=_logprobs(body),
        grammar=_format(body),
    )
    thinking = replace(turn.thinking, budget=body.thinking_token_budget)
    scheduling = Scheduling(priority=body.priority or 0, cache_salt=body.cache_salt or "")
    return replace(turn, params=params, thinking=thinking, scheduling=scheduling)


def input_turn(body: InputTokensRequest, earlier: Sequence[InputItem]) -> ChatTurn:
    """The conversation alone."""
    _refuse(body.conversation, "conversation", "Use previous_response_id instead.")
    _refuse(body.personality, "personality", "It is not supported.")
    for name in ("messages", "tools", "add_generation_prompt"):
        _refuse(
            name in (body.chat_template_kwargs or ()),
            "chat_template_kwargs",
            f"The server sets {name!r} itself.",
        )
    return ChatTurn(
        messages=read_items(body.instructions, earlier, body.input or ()),
        tools=read_response_tools(body),
        thinking=ThinkingWish(effort=body.reasoning.effort if body.reasoning else None),
        options=ChatOptions(variables=body.chat_template_kwargs or {}),
    )


async def prepare_within_context(
    turns: ChatTurns, turn: ChatTurn, *, truncates: bool
) -> PreparedTurn:
    """With `truncates` the oldest turns of the user are left out, with what followed them, when the
    conversation does not fit otherwise. Raises what `ChatTurns.prepare` raises."""
    try:
        return await turns.prepare(turn)
    except ContextLengthError:
        starts = _later_starts(turn.messages)
        if not truncates or not starts:
            raise
    low, high = 0, len(starts) - 1  # the first of `starts` that fits is in between
    while low < high:
        middle = (low + high) // 2
        try:
            await turns.prepare(_from(turn, starts[middle]))
            high = middle
        except ContextLengthError:
            low = middle + 1
    return await turns.prepare(_from(turn, starts[low]))


def _later_starts(messages: Sequence[Message]) -> list[int]:
    """Places of all turns of the user but the first."""
    return [place for place, message in enumerate(messages) if message.role == "user"][1:]


def _from(turn: ChatTurn, start: int) -> ChatTurn:
    kept = [m for at, m in enumerate(turn.messages) if at >= start or m.role == "system"]
    return replace(turn, messages=kept)


def _logprobs(body: ResponsesRequest) -> int | None:
    asked = LOGPROBS in (body.include or ()) or body.top_logprobs
    return (body.top_logprobs or 0) if asked else None


def _format(body: ResponsesRequest) -> Grammar | None:
    asked = body.text.format if body.text is not None else None
    if asked is None:
        return None
    is_schema = asked.type == "json_schema"
    if is_schema != (asked.json_schema is not None) or is_schema != (asked.name is not None):
        raise RequestError(
            "text.format has a name and a schema exactly when its type is 'json_schema', but its"
            f" type is {asked.type!r}.",
            param="text.format",
            code="missing_required_parameter" if is_schema else "invalid_value",
        )
    if asked.json_schema is not None:
        with _named("text.format"):
            return replace(Grammar.json_schema(asked.json_schema), param="text.format")
    if asked.type == "json_object":
        return replace(Grammar.json_object(), param="text.format")
    return None


@contextmanager
def _named(param: str) -> Iterator[None]:
    try:
        yield
    except RequestError as error:
        raise RequestError(str(error), param=param, code=error.code) from error


def _refuse_unsupported(body: ResponsesRequest) -> None:
    _refuse(body.prompt, "prompt", "There are no stored prompts.")
    _refuse(body.context_management, "context_management", "Send a shorter input instead.")
    _refuse(body.moderation, "moderation", "There is no moderation.")
    verbosity = body.text.verbosity if body.text is not None else None
    _refuse(verbosity not in (None, "medium"), "text.verbosity", "It is not supported.")
    for at, name in enumerate(body.include or ()):
        _refuse(
            name not in (LOGPROBS, ENCRYPTED),
            f"include[{at}]",
            f"{name[:64]!r} is not there; {LOGPROBS} and {ENCRYPTED} are.",
        )


def _refuse(asked: object, param: str, message: str) -> None:
    """Raises when `asked` is true or not empty."""
    if asked:
        raise RequestError(f"{param}: {message}", param=param, code="unsupported_value")
