"""The grammar of calls in Gemma's notation, with its own objects, arrays and strings."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ftllm.tool_parsers.call_layout import RenderCall
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.member_lists import separated
from ftllm.tool_parsers.raw_text import raw_text
from ftllm.tool_parsers.schema_parts import (
    as_json,
    object_members,
    plain_schema,
    resolved,
    shared_definitions,
    value_kinds,
)
from ftllm.tool_parsers.schema_types import schema_types
from ftllm.tool_parsers.tool_schemas import Schema

_CHOICES = frozenset({"enum", "const", "anyOf", "oneOf"})
_ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})


def gemma_call(quote: str) -> RenderCall:
    """`f{key:value,…}`, strings between two of `quote`."""

    def call(rules: LarkRules, name: str, parameters: Schema) -> str:
        values = _Values(rules, quote, parameters)
        return sequence(literal(name), values.members(parameters))

    return call


class _Values:
    def __init__(self, rules: LarkRules, quote: str, root: Schema) -> None:
        self._rules = rules
        self._quote = quote
        self._root = root
        self._known: dict[str, str] = {}  # rules by their schema, which may hold itself

    def value(self, schema: object) -> str:
        """The rule for what `schema` allows."""
        whole = resolved(plain_schema(schema), self._root)
        key = json.dumps(whole, sort_keys=True)
        if key not in self._known:

            def define(name: str) -> str:
                self._known[key] = name
                return self._definition(whole)

            self._rules.recursive(define)
        return self._known[key]

    def members(self, schema: Schema) -> str:
        """An object with its braces."""
        items = [
            (sequence(literal(f"{each.key}:"), self.value(each.schema)), each.required)
            for each in object_members(schema, self._root)
        ]
        return sequence(literal("{"), separated(self._rules, items, ","), literal("}"))

    def _definition(self, schema: Schema) -> str:
        if not schema_types(schema, self._root) and not _CHOICES & schema.keys():
            schema = {**schema, "type": sorted(_ALL_TYPES)}
        options = []
        for kind in value_kinds(schema, self._root):
            if kind.values:
                options += [literal(self._written(each)) for each in kind.values]
            elif kind.is_string:
                text = raw_text(self._rules, kind.schema, self._quote)
                options.append(sequence(literal(self._quote), text))
            else:
                options += self._other(kind.schema)
        return choice(*options)

    def _other(self, schema: Schema) -> list[str]:
        """The ways to write a value of `schema` that is no string."""
        types = schema_types(schema, self._root)
        options = []
        if plain := sorted(types - {"array", "object"}):
            shared = shared_definitions(self._root)
            options.append(self._rules.json({**shared, **schema, "type": plain}))
        if "array" in types:
            options.append(self._array(schema))
        if "object" in types:
            options.append(self.members(schema) if "properties" in schema else self._open(schema))
        return options

    def _array(self, schema: Schema) -> str:
        item = self.value(schema.get("items"))
        fewest, most = schema.get("minItems"), schema.get("maxItems")
        low = fewest if isinstance(fewest, int) else 0
        high = most if isinstance(most, int) else None
        if high == 0:
            return literal("[]")
        bounds = f"{{{max(low - 1, 0)},{'' if high is None else high - 1}}}"
        inner = sequence(item, f"({sequence(literal(','), item)}){bounds}")
        return sequence(literal("["), inner if low else f"({inner})?", literal("]"))

    def _open(self, schema: Schema) -> str:
        """An object whose keys the schema does not name."""
        if schema.get("additionalProperties") is False:
            return literal("{}")
        member = sequence(r"/[A-Za-z_]\w*:/", self.value(schema.get("additionalProperties")))
        more = f"({sequence(literal(','), member)})*"
        return sequence(literal("{"), f"({member} {more})?", literal("}"))

    def _written(self, value: object) -> str:
        if isinstance(value, str):
            return f"{self._quote}{value}{self._quote}"
        if isinstance(value, Mapping):
            members = (f"{key}:{self._written(each)}" for key, each in value.items())
            return f"{{{','.join(members)}}}"
        if isinstance(value, list):
            return f"[{','.join(map(self._written, value))}]"
        return as_json(value)
