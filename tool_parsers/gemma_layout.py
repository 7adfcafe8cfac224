"""The grammar of calls in Gemma's notation, with its own objects, arrays and strings."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ftllm.tool_parsers.bare_values import arguments_of, expanded, separated, text_patterns
from ftllm.tool_parsers.call_layout import RenderCall
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.schema_types import schema_types
from ftllm.tool_parsers.tool_schemas import Schema

_ALL_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})


def gemma_call(quote: str) -> RenderCall:
    """`f{key:value,…}`, strings between two of `quote`."""

    def call(rules: LarkRules, name: str, schema: Schema) -> str:
        values = _Values(rules, quote, schema)
        items = [
            (sequence(literal(f"{each.key}:"), values.value(each.schema)), each.required)
            for each in arguments_of(name, schema)
        ]
        return sequence(literal(f"{name}{{"), separated(rules, items, ","), literal("}"))

    return call


class _Values:
    def __init__(self, rules: LarkRules, quote: str, root: Schema) -> None:
        self.rules = rules
        self.quote = quote
        self.root = root
        self.known: dict[str, str] = {}  # rules by their schema, which may hold itself

    def value(self, schema: object) -> str:
        """The rule for what `schema` allows."""
        full = expanded(schema if isinstance(schema, Mapping) else {}, self.root)
        key = json.dumps(full, sort_keys=True)
        if key not in self.known:

            def define(name: str) -> str:
                self.known[key] = name
                return self._definition(full)

            self.rules.recursive(define)
        return self.known[key]

    def _definition(self, known: Schema) -> str:
        listed = [known["const"]] if "const" in known else known.get("enum")
        if isinstance(listed, list) and listed:
            return choice(*(literal(self._written(each)) for each in listed))
        for word in ("anyOf", "oneOf"):
            parts = known.get(word)
            if isinstance(parts, list) and parts:
                return choice(*(self.value(part) for part in parts))
        types = schema_types(known, self.root) or _ALL_TYPES
        plain = types - {"string", "array", "object"}
        options = []
        if plain:
            options.append(self.rules.json({**known, "type": sorted(plain)}))
        if "string" in types:
            options.append(
                sequence(
                    literal(self.quote), self.rules.text_until(self.quote, text_patterns(known))
                )
            )
        if "array" in types:
            options.append(self._array(known))
        if "object" in types:
            options.append(self._object(known))
        return choice(*options)

    def _array(self, schema: Schema) -> str:
        item = self.value(schema.get("items"))
        fewest, most = schema.get("minItems"), schema.get("maxItems")
        low = fewest if isinstance(fewest, int) else 0
        high = most if isinstance(most, int) else None
        if high == 0:
            return literal("[]")
        more = f"({sequence(literal(','), item)})" + (
            f"{{{max(low - 1, 0)},{'' if high is None else high - 1}}}"
        )
        inner = sequence(item, more)
        return sequence(literal("["), inner if low else f"({inner})?", literal("]"))

    def _object(self, schema: Schema) -> str:
        listed = schema.get("required")
        required = listed if isinstance(listed, list) else []
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and properties:
            items = [
                (sequence(literal(f"{key}:"), self.value(each)), key in required)
                for key, each in properties.items()
            ]
            return sequence(literal("{"), separated(self.rules, items, ","), literal("}"))
        member = sequence(r"/[A-Za-z_]\w*:/", self.value(schema.get("additionalProperties")))
        more = f"({sequence(literal(','), member)})*"
        return sequence(literal("{"), f"({member} {more})?", literal("}"))

    def _written(self, value: object) -> str:
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}"
        if isinstance(value, Mapping):
            return (
                "{" + ",".join(f"{key}:{self._written(each)}" for key, each in value.items()) + "}"
            )
        if isinstance(value, list):
            return "[" + ",".join(map(self._written, value)) + "]"
        return json.dumps(value)
