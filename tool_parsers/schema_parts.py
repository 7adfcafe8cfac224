"""Takes JSON Schemas apart: what they refer to, the members of objects, the kinds of a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ftllm.errors import RequestError
from ftllm.tool_parsers.schema_types import STRING, referenced, schema_types
from ftllm.tool_parsers.tool_schemas import Schema

_DEEPEST = 32  # references and choices inside each other; more are a circle
_NOTES = frozenset({"title", "description", "default", "examples", "$comment", "deprecated"})
# What an object of arguments cannot be held to member by member.
_WHOLE_OBJECT_WORDS = (
    *("anyOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas"),
    *("minProperties", "maxProperties", "patternProperties", "propertyNames"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """A property of an object."""

    key: str
    schema: Schema
    required: bool


@dataclass(frozen=True, slots=True)
class ValueKind:
    """One kind of value that a schema allows.

    `values` are the only ones, if they are given; else `schema` describes a string (`is_string`)
    or a value that is none.
    """

    schema: Schema
    is_string: bool
    values: tuple[object, ...] = ()


def resolved(schema: Schema, root: Schema) -> Schema:
    """`schema` with what it refers to and the parts of `allOf` put in its place."""
    for _ in range(_DEEPEST):
        if isinstance(schema.get("$ref"), str):
            target = referenced(str(schema["$ref"]), root)
            if not isinstance(target, Mapping):
                raise _refused(f"the reference {schema['$ref']!r}, which leads nowhere")
            rest = {word: value for word, value in schema.items() if word != "$ref"}
            schema = _merged([target, rest])
        elif isinstance(schema.get("allOf"), list):
            rest = {word: value for word, value in schema.items() if word != "allOf"}
            parts = [plain_schema(part) for part in listed(schema["allOf"])]
            schema = _merged([*(resolved(part, root) for part in parts), rest])
        else:
            return schema
    raise _refused("a reference to itself")


def object_members(schema: Schema, root: Schema) -> list[Member]:
    """The properties of an object in order; those that are required without being declared last."""
    whole = resolved(schema, root)
    for word in _WHOLE_OBJECT_WORDS:
        if word in whole:
            raise _refused(f"{word!r} over the properties of an object")
    properties = plain_schema(whole.get("properties"))
    names = [name for name in listed(whole.get("required")) if isinstance(name, str)]
    members = [Member(key, plain_schema(properties[key]), key in names) for key in properties]
    additional = plain_schema(whole.get("additionalProperties"))
    members += [Member(key, additional, True) for key in names if key not in properties]
    return members


def value_kinds(schema: Schema, root: Schema, depth: int = _DEEPEST) -> Iterator[ValueKind]:
    """The kinds of value that `schema` allows; a schema that says nothing allows strings."""
    if depth == 0:
        raise _refused("a reference to itself")
    schema = resolved(schema, root)
    for word in ("enum", "const"):
        if word in schema:
            values = listed(schema[word]) if word == "enum" else [schema[word]]
            yield ValueKind(schema, is_string=False, values=tuple(values))
            return
    for word in ("anyOf", "oneOf"):
        if isinstance(schema.get(word), list):
            rest = {key: value for key, value in schema.items() if key not in (word, *_NOTES)}
            for part in listed(schema[word]):
                yield from value_kinds(_merged([plain_schema(part), rest]), root, depth - 1)
            return
    types = schema_types(schema, root)
    if not types or "string" in types:
        yield ValueKind({**schema, "type": "string"}, is_string=True)
    others = sorted(types - STRING)
    if others:
        rest = {key: value for key, value in schema.items() if key != "nullable"}
        yield ValueKind({**rest, "type": others if len(others) > 1 else others[0]}, is_string=False)


def _merged(parts: list[Schema]) -> Schema:
    """One schema that asks for what all of `parts` do."""
    whole: dict[str, object] = {}
    for part in parts:
        for word, value in part.items():
            if word == "properties" and isinstance(whole.get(word), Mapping):
                whole[word] = {**plain_schema(whole[word]), **plain_schema(value)}
            elif word == "required":
                whole[word] = [*listed(whole.get(word)), *listed(value)]
            elif word in whole and word not in _NOTES and whole[word] != value:
                raise _refused(f"two different {word!r} for one value")
            else:
                whole[word] = value
    return whole


def listed(value: object) -> list[object]:
    """`value` if it is a list; whatever is none, as no list at all."""
    return value if isinstance(value, list) else []


def _refused(what: str) -> RequestError:
    return RequestError(
        f"The parameters of a tool have {what}. Calls in this model's format cannot be held to it;"
        " change the schema, or use tool_choice auto without strict.",
        param="tools",
    )


def plain_schema(value: object) -> Schema:
    """`value` if it is a schema with words; true, and whatever is none, allows everything."""
    return value if isinstance(value, Mapping) else {}


def shared_definitions(root: Schema) -> Schema:
    """What the references in a part of `root` name."""
    return {word: root[word] for word in ("$defs", "definitions") if word in root}


def as_json(value: object) -> str:
    """JSON text of a value in a schema."""
    return json.dumps(value, ensure_ascii=False)
