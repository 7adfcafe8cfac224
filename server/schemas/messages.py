"""POST /v1/messages and /v1/messages/count_tokens, in Anthropic's shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.server.schemas.base import Int, JsonObject, JsonObjects, JsonValue, Schema, StopStrings
from ftllm.server.schemas.tools import MAX_DESCRIPTION_CHARS, MAX_TOOLS, Parameters

_KINDS = ("text", "thinking", "redacted_thinking", "tool_use", "tool_result")


def _blocks(value: object, kinds: tuple[str, ...] = _KINDS) -> object:
    """A string is one block of text."""
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if not isinstance(value, list):
        raise PydanticCustomError("content_type", "It must be a string or an array of blocks")
    for block in value:
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str):
            raise PydanticCustomError("content_type", "Each block must be an object with a 'type'")
        if kind not in kinds:
            raise PydanticCustomError(
                "unsupported_block",
                "Blocks of type '{kind}' are not supported: this model reads text only",
                {"kind": kind[:50]},
            )
    return value


def _text_blocks(value: object) -> object:
    return None if value is None else _blocks(value, ("text",))


def _tool(value: object) -> object:
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind != "custom":
        raise PydanticCustomError(
            "unsupported_tool",
            "Tools of type '{kind}' belong to Anthropic's service; describe the tool with a name"
            " and an input_schema",
            {"kind": kind[:50]},
        )
    return value


class TextBlock(Schema):
    type: Literal["text"]
    text: str
    citations: JsonValue = None  # accepted: only a hosted service makes them
    cache_control: JsonValue = None  # accepted: every prefix is cached


TextBlocks = Annotated[
    list[TextBlock],
    Field(fail_fast=True),
    BeforeValidator(_text_blocks, json_schema_input_type=str | list[JsonObject]),
]


class ContentBlock(Schema):
    """Which fields it has depends on the type."""

    type: Literal["text", "thinking", "redacted_thinking", "tool_use", "tool_result"]
    text: str | None = None
    citations: JsonValue = None
    cache_control: JsonValue = None

    thinking: str | None = None
    signature: str | None = None  # accepted: whoever sends thinking is believed
    data: str | None = None  # of redacted thinking, which only its author can read

    id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    input: JsonObject | None = None
    caller: JsonValue = None

    tool_use_id: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    content: TextBlocks | None = None
    is_error: bool | None = None


class InputMessage(Schema):
    role: Literal["user", "assistant", "system"]
    content: Annotated[
        list[ContentBlock],
        Field(fail_fast=True),
        BeforeValidator(_blocks, json_schema_input_type=str | list[JsonObject]),
    ]


class MessagesTool(Schema):
    type: Literal["custom"] | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] | None = None
    input_schema: Parameters
    strict: bool | None = None
    cache_control: JsonValue = None
    eager_input_streaming: bool | None = None  # no effect: arguments are always streamed at once
    defer_loading: bool | None = None  # refused when true, as are …
    input_examples: JsonObjects | None = None  # … these and …
    allowed_callers: list[str] | None = None  # … any but "direct"


class MessagesToolChoice(Schema):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingConfig(Schema):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[Int, Field(ge=1)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Schema):
    type: Literal["json_schema"]
    json_schema: Annotated[JsonObject, Field(alias="schema")]
    name: str | None = None


class OutputConfig(Schema):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class CountTokensRequest(Schema):
    """What the prompt is made of; fields that clients send with it are taken too."""

    model: str | None = None  # None = the served model
    messages: Annotated[list[InputMessage], Field(min_length=1, fail_fast=True)]
    system: TextBlocks | None = None
    tools: (
        Annotated[
            list[Annotated[MessagesTool, BeforeValidator(_tool)]],
            Field(max_length=MAX_TOOLS, fail_fast=True),
        ]
        | None
    ) = None
    tool_choice: MessagesToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None  # the older place of output_config.format
    context_management: JsonObject | None = None
    mcp_servers: JsonValue = None  # refused unless empty, as are …
    container: JsonValue = None  # … these

    # Accepted: only a hosted service can mean them.
    cache_control: JsonValue = None
    speed: str | None = None
    diagnostics: JsonValue = None
    betas: list[str] | None = None


class MessagesRequest(CountTokensRequest):
    max_tokens: Annotated[Int, Field(ge=1)]
    stop_sequences: StopStrings = Field(default_factory=list)
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Int | None = None

    # Accepted: only a hosted service can mean them.
    metadata: JsonObject | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None
