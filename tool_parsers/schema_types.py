"""Which JSON types a schema allows, and how a bare text becomes a value of one of them."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from ftllm.tool_parsers.json_value import JsonPassage, escaped
from ftllm.tool_parsers.tool_schemas import Schema

Types = frozenset[str]
Untyped = Literal["string", "json"]
"""What a value without a schema is: the text, or JSON where it is such and no string."""

STRING: Types = frozenset({"string"})

# Names of types that are no JSON Schema but are written in its place.
_TYPE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("string", "str", "text", "varchar", "char", "enum"), "string"),
        **dict.fromkeys(
            ("integer", "int", "int32", "int64", "uint", "uint32", "uint64", "long", "short"),
            "integer",
        ),
        **dict.fromkeys(("number", "float", "float32", "float64", "double", "num"), "number"),
        **dict.fromkeys(("boolean", "bool", "binary"), "boolean"),
        **dict.fromkeys(("object", "dict", "map"), "object"),
        **dict.fromkeys(("array", "list", "arr", "tuple"), "array"),
        **dict.fromkeys(("null", "none", "nonetype"), "null"),
    }
)
_INTEGER = re.compile(r"([+-]?)0*([0-9]+)(?:\.0*)?")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LOOSE_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_REFERENCES = 32  # in a row; more are a circle


def property_types(parameters: Schema, key: str) -> Types:
    """The types that `parameters`, the schema of an object, allows for `key`; empty = unknown."""
    root = parameters
    for part in _parts(parameters, root):
        properties = part.get("properties")
        if isinstance(properties, Mapping) and isinstance(properties.get(key), Mapping):
            return schema_types(properties[key], root)
    additional = parameters.get("additionalProperties")
    return schema_types(additional, root) if isinstance(additional, Mapping) else frozenset()


def property_names(parameters: Schema) -> tuple[str, ...]:
    """The keys that `parameters`, the schema of an object, names, in order."""
    names: dict[str, None] = {}
    for part in _parts(parameters, parameters):
        properties = part.get("properties")
        if isinstance(properties, Mapping):
            names.update(dict.fromkeys(properties))
    return tuple(names)


def schema_types(schema: Schema, root: Schema) -> Types:
    """The types that `schema` allows; `root` holds what its references name. Empty = any."""
    return _types(schema, root, _MAX_REFERENCES) or frozenset()


def _types(schema: object, root: Schema, depth: int) -> Types | None:
    """None = the schema does not say."""
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    found = _own_types(schema)
    if found is None and isinstance(schema.get("$ref"), str):
        found = _types(referenced(schema["$ref"], root), root, depth - 1)
    for word in ("anyOf", "oneOf"):
        if found is None and isinstance(schema.get(word), list):
            each = [_types(part, root, depth - 1) for part in schema[word]]
            known = [types for types in each if types is not None]
            found = frozenset().union(*known) if known and len(known) == len(each) else None
    if found is None and isinstance(schema.get("allOf"), list):
        for part in schema["allOf"]:
            types = _types(part, root, depth - 1)
            if types is not None:
                found = types if found is None else found & types
    if found is not None and schema.get("nullable") is True:
        found |= {"null"}
    return found


def _own_types(schema: Schema) -> Types | None:
    """What `schema` says without looking at others."""
    declared = schema.get("type")
    names = [declared] if isinstance(declared, str) else declared
    if isinstance(names, list):
        known = {_TYPE_NAMES.get(str(name).lower()) for name in names}
        return None if None in known else frozenset(name for name in known if name)
    values = schema.get("enum")
    if isinstance(values, list) and values:
        return frozenset(_type_of(value) for value in values)
    if "const" in schema:
        return frozenset({_type_of(schema["const"])})
    if "properties" in schema:
        return frozenset({"object"})
    if "items" in schema:
        return frozenset({"array"})
    return None


def _type_of(value: object) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return name
    if value is None:
        return "null"
    return "array" if isinstance(value, list) else "object"


def referenced(reference: str, root: Schema) -> object:
    """What a local reference such as `#/$defs/Place` names; None if nothing."""
    if not reference.startswith("#"):
        return None
    place: object = root
    for step in reference[1:].split("/")[1:]:
        if not isinstance(place, Mapping):
            return None
        place = place.get(step.replace("~1", "/").replace("~0", "~"))
    return place


def _parts(schema: object, root: Schema, depth: int = _MAX_REFERENCES) -> list[Schema]:
    """`schema` and all that it refers to or is made of."""
    if not isinstance(schema, Mapping) or depth == 0:
        return []
    parts: list[Schema] = [schema]
    if isinstance(schema.get("$ref"), str):
        parts += _parts(referenced(schema["$ref"], root), root, depth - 1)
    for word in ("allOf", "anyOf", "oneOf"):
        inner = schema.get(word)
        if isinstance(inner, list):
            for each in inner:
                parts += _parts(each, root, depth - 1)
    return parts


def typed_json(text: str, types: Types, untyped: Untyped) -> str:
    """`text` as JSON text of the first of `types` that it fits; a string if it fits none."""
    if not types:
        value = _json_but_no_string(text) if untyped == "json" else None
        return value or f'"{escaped(text)}"'
    bare = text.strip()
    if "null" in types and bare.lower() in ("null", "none"):
        return "null"
    if "integer" in types and (match := _INTEGER.fullmatch(bare)):
        sign = "-" if match[1] == "-" and match[2] != "0" else ""
        return sign + match[2]
    if "number" in types and (number := loose_number(bare)):
        return number
    if "boolean" in types and bare.lower() in ("true", "false"):
        return bare.lower()
    for kind, opening in (("object", "{"), ("array", "[")):
        if kind in types and bare[:1] in (opening, "("):
            value = _container(bare, opening)
            if value is not None:
                return value
    return f'"{escaped(text)}"'


def loose_number(text: str) -> str | None:
    """`text` as a JSON number, with the spelling that it has if that is one; None if it is none."""
    if _NUMBER.fullmatch(text) and (text.lstrip("-").isdigit() or math.isfinite(float(text))):
        return text
    if match := _INTEGER.fullmatch(text):
        return ("-" if match[1] == "-" else "") + match[2]
    if not _LOOSE_NUMBER.fullmatch(text):
        return None
    value = repr(float(text))
    return value if _NUMBER.fullmatch(value) else None  # 1e999 is infinite


def _container(text: str, opening: str) -> str | None:
    """`text` as an object or array: JSON, or else a Python literal; None if it is neither."""
    mended = mended_json(text)
    if mended is not None and mended.startswith(opening):
        return mended
    try:
        value = ast.literal_eval(text)
        if not isinstance(value, dict if opening == "{" else (list, tuple)):
            return None
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _json_but_no_string(text: str) -> str | None:
    bare = text.strip()
    value = None if bare[:1] in ('"', "'") else mended_json(bare)
    return value if value == bare or bare[:1] in ("{", "[") else None


def mended_json(text: str) -> str | None:
    """`text` as valid JSON text, with the slips mended that a `JsonPassage` mends, or None."""
    parts: list[str] = []
    passage = JsonPassage(parts.append)
    end = passage.feed(text, 0)
    if not passage.done:
        if text[:1] in ("{", "["):
            return None
        passage.close()
    if end < len(text):
        return None
    mended = "".join(parts)
    try:
        json.loads(mended, parse_int=len, parse_float=len)  # numbers are not of interest
    except (ValueError, RecursionError):
        return None
    return mended
