"""Tools, and calls of them, in OpenAI's shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.server.schemas.base import JsonObject, JsonValue, Schema

MAX_TOOLS = 1024
MAX_DESCRIPTION_CHARS = 65_536
MAX_SCHEMA_DEPTH = 64


def _check_parameters(schema: dict[str, object]) -> dict[str, object]:
    """A JSON Schema of an object, as far as its outline tells."""
    kind = schema.get("type", "object")
    if kind != "object":
        raise PydanticCustomError(
            "parameters_type",
            "It must be a JSON Schema of type 'object', because calls pass named arguments",
        )
    _check_outline(schema, depth=0)
    return schema


def _check_outline(schema: object, *, depth: int) -> None:
    if depth > MAX_SCHEMA_DEPTH:
        raise PydanticCustomError(
            "schema_depth",
            "It is nested more than {limit} levels deep",
            {"limit": MAX_SCHEMA_DEPTH},
        )
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise PydanticCustomError("schema_type", "Each schema in it must be an object or a boolean")
    kind = schema.get("type", [])
    if not isinstance(kind, str) and not _is_texts(kind):
        raise PydanticCustomError("schema_type", "A 'type' in it is neither a string nor strings")
    if not _is_texts(schema.get("required", [])):
        raise PydanticCustomError("schema_required", "A 'required' in it is no array of strings")
    for key in ("properties", "$defs", "definitions", "patternProperties"):
        members = schema.get(key, {})
        if not isinstance(members, dict):
            raise PydanticCustomError(
                "schema_members", "A '{key}' in it is not an object", {"key": key}
            )
        for member in members.values():
            _check_outline(member, depth=depth + 1)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        options = schema.get(key, [])
        if not isinstance(options, list):
            raise PydanticCustomError(
                "schema_options", "A '{key}' in it is not an array", {"key": key}
            )
        for option in options:
            _check_outline(option, depth=depth + 1)
    if isinstance(schema.get("items"), dict):
        _check_outline(schema["items"], depth=depth + 1)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _arguments(value: object) -> object:
    """A string or an object; an empty string stands for no arguments, as some servers write it."""
    if isinstance(value, str | dict):
        return value or "{}"
    raise PydanticCustomError(
        "arguments_type", "It must be JSON text in a string, or the object itself"
    )


FunctionName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Parameters = Annotated[JsonObject, AfterValidator(_check_parameters)]


class FunctionDefinition(Schema):
    name: FunctionName
    description: Annotated[str, Field(max_length=MAX_DESCRIPTION_CHARS)] | None = None
    parameters: Parameters | None = None
    strict: bool | None = None


class Tool(Schema):
    type: Literal["function"]
    function: FunctionDefinition


class CalledFunction(Schema):
    name: Annotated[str, Field(min_length=1, max_length=1024)]  # whatever the model made up
    arguments: Annotated[
        str | JsonObject,
        BeforeValidator(_arguments, json_schema_input_type=str | dict[str, object]),
    ]
    parsed_arguments: JsonValue = None  # what an SDK makes of them, when it is sent back too


class MessageToolCall(Schema):
    id: Annotated[str, Field(min_length=1, max_length=1024)]
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None  # what clients keep that put a stream's deltas together


Tools = Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True)]
Functions = Annotated[list[FunctionDefinition], Field(max_length=MAX_TOOLS, fail_fast=True)]
MessageToolCalls = Annotated[list[MessageToolCall], Field(max_length=MAX_TOOLS, fail_fast=True)]
