"""POST /v1/responses and /v1/responses/input_tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.engine.params import MAX_LOGPROBS
from ftllm.server.schemas.base import Int, JsonObject, JsonValue, Schema
from ftllm.server.schemas.chat import Effort
from ftllm.server.schemas.sampling import MAX_SALT_CHARS
from ftllm.server.schemas.tools import (
    MAX_DESCRIPTION_CHARS,
    MAX_TOOLS,
    FunctionName,
    Parameters,
)

MAX_ITEMS = 65_536
ITEM_SIZE = 256  # what an item, or a part of one, weighs beside a character

_ITEMS = ("message", "function_call", "function_call_output", "reasoning")
_PARTS = ("input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text")


def _items(value: object) -> object:
    """A string is one message of the user's; an item without a type is a message."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list):
        return value
    items = []
    for item in value:
        if not isinstance(item, dict):
            raise PydanticCustomError("item_type", "Each item must be an object")
        kind = item.get("type", "message")
        if kind not in _ITEMS:
            raise PydanticCustomError(
                "unsupported_item",
                "Items of type '{kind}' are not supported; there are {known}",
                {"kind": str(kind)[:50], "known": ", ".join(_ITEMS)},
            )
        item = {**item, "type": kind}
        if kind == "message" and isinstance(item.get("content"), str):
            part = "output_text" if item.get("role") == "assistant" else "input_text"
            item["content"] = [{"type": part, "text": item["content"]}]
        items.append(item)
    return items


def _parts(value: object) -> object:
    """A string is one part."""
    if isinstance(value, str):
        return [{"type": "input_text", "text": value}]
    if not isinstance(value, list):
        return value
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise PydanticCustomError("content_type", "Each part must be an object with a 'type'")
        if kind not in _PARTS:
            raise PydanticCustomError(
                "unsupported_part",
                "Parts of type '{kind}' are not supported: this model reads text only",
                {"kind": kind[:50]},
            )
    return value


def _tool(value: object) -> object:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind != "function":
        raise PydanticCustomError(
            "unsupported_tool",
            "Tools of type '{kind}' are not supported; describe the tool as a function",
            {"kind": kind[:50]},
        )
    return value


class TextPart(Schema):
    type: Literal["input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text"]
    text: str | None = None
    refusal: str | None = None
    # What an answer's part carries when it is sent back as it came.
    annotations: JsonValue = None
    logprobs: JsonValue = None

    @property
    def content(self) -> str:
        return self.text or self.refusal or ""


Parts = Annotated[
    list[TextPart],
    Field(fail_fast=True),
    BeforeValidator(_parts, json_schema_input_type=str | list[JsonObject]),
]
CallId = Annotated[str, Field(min_length=1, max_length=1024)]


class InputItem(Schema):
    """Which fields it has depends on the type."""

    type: Literal["message", "function_call", "function_call_output", "reasoning"]
    id: str | None = None
    status: str | None = None

    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: Parts | None = None
    phase: str | None = None  # accepted: a hosted model's label of its own messages

    call_id: CallId | None = None
    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    arguments: str | None = None
    output: Parts | None = None
    namespace: str | None = None
    caller: JsonValue = None
    created_by: JsonValue = None

    summary: Parts | None = None
    encrypted_content: str | None = None  # accepted: the thinking itself is in `content`

    @property
    def size(self) -> int:
        """About how many characters it has."""
        parts = (*(self.content or ()), *(self.output or ()), *(self.summary or ()))
        text = sum(ITEM_SIZE + len(part.content) for part in parts)
        return ITEM_SIZE + text + len(self.arguments or "") + len(self.encrypted_content or "")


class TextFormat(Schema):
    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")] | None = None
    description: str | None = None
    json_schema: Annotated[JsonObject | None, Field(alias="schema")] = None
    strict: bool | None = None  # no effect: a schema is always kept to the letter


class TextConfig(Schema):
    format: TextFormat | None = None
    verbosity: str | None = None  # refused unless medium


class ReasoningConfig(Schema):
    effort: Effort | None = None
    # Accepted: thinking is always told in full, which serves for every kind of summary.
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: str | None = None  # accepted: what is kept of it is the template's decision


class ResponseTool(Schema):
    type: Literal["function"]
    name: FunctionName
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] | None = None
    parameters: Parameters | None = None
    strict: bool | None = None
    defer_loading: bool | None = None  # refused when true
    output_schema: JsonObject | None = None  # accepted: results are text to the model
    allowed_callers: list[str] | None = None  # refused but for "direct"


class InputTokensRequest(Schema):
    """What the prompt is made of."""

    model: str | None = None  # None = the served model
    input: (
        Annotated[
            list[InputItem],
            Field(max_length=MAX_ITEMS, fail_fast=True),
            BeforeValidator(_items, json_schema_input_type=str | list[JsonObject]),
        ]
        | None
    ) = None
    instructions: str | None = None
    previous_response_id: str | None = None
    tools: (
        Annotated[
            list[Annotated[ResponseTool, BeforeValidator(_tool)]],
            Field(max_length=MAX_TOOLS, fail_fast=True),
        ]
        | None
    ) = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningConfig | None = None
    text: TextConfig | None = None
    truncation: Literal["auto", "disabled"] | None = None
    chat_template_kwargs: JsonObject | None = None

    # Known, but not honoured: refused when they ask for something.
    conversation: JsonValue = None
    personality: str | None = None


class ResponseStreamOptions(Schema):
    include_obfuscation: bool | None = None  # padding against traffic analysis: hosted only


class ResponsesRequest(InputTokensRequest):
    """None = left out: the model's own default holds, or else OpenAI's."""

    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    max_output_tokens: Annotated[Int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    include: list[str] | None = None
    store: bool | None = None  # None = true
    background: bool | None = None
    metadata: JsonObject | None = None

    # Beyond OpenAI's set; names and meaning as in vLLM.
    top_k: Int | None = None  # 0 or -1 = off
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Int | None = None
    thinking_token_budget: Annotated[Int, Field(ge=0)] | None = None
    priority: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    cache_salt: Annotated[str, Field(min_length=1, max_length=MAX_SALT_CHARS)] | None = None

    # Known, but not honoured: refused when they ask for something.
    prompt: JsonValue = None
    context_management: JsonValue = None
    moderation: JsonValue = None

    # Accepted: only a hosted service can mean them.
    max_tool_calls: Int | None = None  # of tools that run there
    user: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonValue = None
