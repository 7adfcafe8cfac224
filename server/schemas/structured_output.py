"""What an answer has to look like: fields of chat and text completions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftllm.server.schemas.base import JsonObject, JsonValue, Schema


class JsonSchemaFormat(Schema):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    json_schema: Annotated[JsonObject, Field(alias="schema")]
    strict: bool | None = None  # no effect: a schema is always kept to the letter


class ResponseFormat(Schema):
    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: JsonSchemaFormat | None = None
    structures: JsonValue = None  # of a structural tag, as are …
    triggers: JsonValue = None  # … these


class StructuredOutputs(Schema):
    """vLLM's: one constraint, and how JSON may be spaced."""

    json_: Annotated[JsonValue, Field(alias="json")] = None  # a JSON Schema, or its text
    json_object: bool | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None  # Lark, or GBNF
    structural_tag: JsonValue = None
    whitespace_pattern: str | None = None
    disable_any_whitespace: bool | None = None
    disable_additional_properties: bool | None = None
    disable_fallback: bool | None = None  # no effect: there is no other engine to fall back to
