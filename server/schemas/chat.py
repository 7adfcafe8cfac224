"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.engine.params import MAX_LOGPROBS
from ftllm.server.schemas.base import Int, JsonObject, JsonValue, Schema
from ftllm.server.schemas.sampling import SamplingFields
from ftllm.server.schemas.tools import CalledFunction, Functions, MessageToolCalls, Tools


def _join_parts(value: object) -> object:
    """Content given as parts becomes one string, a line break between two parts."""
    if not isinstance(value, list):
        if value is None or isinstance(value, str):
            return value
        raise PydanticCustomError("content_type", "It must be a string or an array of text parts")
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise PydanticCustomError("content_type", "Each part must be an object with a 'type'")
        if kind != "text":
            raise PydanticCustomError(
                "unsupported_part",
                "Parts of type '{kind}' are not supported: this model reads text only",
                {"kind": kind[:50]},
            )
        if not isinstance(text, str):
            raise PydanticCustomError("content_type", "A text part needs a string 'text'")
        texts.append(text)
    return "\n".join(texts)


Content = Annotated[
    str | None, BeforeValidator(_join_parts, json_schema_input_type=str | list[JsonObject] | None)
]


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class ChatMessage(Schema):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content = None
    name: str | None = None
    tool_calls: MessageToolCalls | None = None
    tool_call_id: str | None = None
    function_call: CalledFunction | None = None  # the older spelling of one tool call
    reasoning_content: str | None = None
    reasoning: str | None = None  # another name of the same
    # What an SDK's answer object carries when it is sent back as it came.
    refusal: str | None = None
    annotations: JsonValue = None
    audio: JsonValue = None
    parsed: JsonValue = None


class ChatCompletionRequest(SamplingFields):
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)]
    max_tokens: Annotated[Int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[Int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    chat_template_kwargs: JsonObject | None = None
    add_generation_prompt: bool | None = None  # None = true, unless the last message goes on
    continue_final_message: bool | None = None

    tools: Tools | None = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    functions: Functions | None = None  # the older spelling of tools, and …
    function_call: JsonValue = None  # … of tool_choice

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    thinking_token_budget: Annotated[Int, Field(ge=0)] | None = None
    include_reasoning: bool | None = None  # None = true

    # Known, but not honoured: refused when they ask for something.
    separate_reasoning: bool | None = None  # SGLang's: refused when false, as the next one
    stream_reasoning: bool | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: JsonValue = None
    web_search_options: JsonValue = None
    moderation: JsonValue = None

    prediction: JsonValue = None  # accepted: only a hosted service can mean it

    @property
    def uses_functions(self) -> bool:
        """The request speaks of functions rather than tools, and so must the answer."""
        return bool(self.functions) or self.function_call not in (None, "none", "auto")
