"""Whether arguments that no grammar has constrained fit their schema.

Knows the keywords that schemas of tools are made of. What it does not know it takes for unmet: what
passes is sure to fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

_IGNORED = frozenset({"title", "description", "default", "examples", "$schema", "$comment"})
_TYPES: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}


def arguments_fit(arguments: str, schema: Mapping[str, object]) -> bool:
    """`arguments` is the JSON text of an object; those that the schema does not name do not fit."""
    try:
        value = json.loads(arguments)
        return _fits(value, {"properties": {}, "additionalProperties": False, **schema})
    except (ValueError, RecursionError):
        return False


def _fits(value: object, schema: object) -> bool:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        return False
    return all(_meets(value, keyword, schema) for keyword in schema if keyword not in _IGNORED)


def _meets(value: object, keyword: str, schema: Mapping[str, object]) -> bool:
    """Whether the value meets one keyword of a schema."""
    wanted = schema[keyword]
    match keyword:
        case "type":
            names = wanted if isinstance(wanted, list) else [wanted]
            return any(
                isinstance(name, str) and name in _TYPES and _TYPES[name](value) for name in names
            )
        case "enum":
            return isinstance(wanted, list) and any(_same(value, each) for each in wanted)
        case "const":
            return _same(value, wanted)
        case "anyOf":
            return isinstance(wanted, list) and any(_fits(value, each) for each in wanted)
        case "required":
            return not isinstance(value, dict) or (
                isinstance(wanted, list) and all(name in value for name in wanted)
            )
        case "properties" | "additionalProperties":
            return not isinstance(value, dict) or _members_fit(value, schema)
        case "items":
            return not isinstance(value, list) or all(_fits(each, wanted) for each in value)
        case _:
            return False


def _members_fit(value: Mapping[str, object], schema: Mapping[str, object]) -> bool:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if not isinstance(properties, dict) or "patternProperties" in schema:
        return False
    return all(_fits(each, properties.get(name, others)) for name, each in value.items())


def _same(value: object, other: object) -> bool:
    """Equal in JSON, where true is not 1."""
    return json.dumps(value, sort_keys=True) == json.dumps(other, sort_keys=True)
