"""The grammar of a tagged call: an element for each argument, typed as the parser types it."""

from __future__ import annotations

import json
from functools import partial

from ftllm.errors import RequestError
from ftllm.tool_parsers.call_layout import RenderCall
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.raw_text import raw_text
from ftllm.tool_parsers.schema_parts import (
    ValueKind,
    as_json,
    object_members,
    shared_definitions,
    value_kinds,
)
from ftllm.tool_parsers.schema_types import STRING, Types, property_types, typed_json
from ftllm.tool_parsers.tagged import TaggedGrammar
from ftllm.tool_parsers.tool_schemas import Schema

# Texts that would become a value of another type, where the schema allows that too.
_LIKE: dict[str, str] = {
    "null": r"\s*(?i:null|none)\s*",
    "integer": r"\s*[+\-]?[0-9]+(?:\.0*)?\s*",
    "number": r"\s*[+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?\s*",
    "boolean": r"\s*(?i:true|false)\s*",
    "object": r"\s*[\{\(](?s:.*)",
    "array": r"\s*[\[\(](?s:.*)",
}
_UNFIT = frozenset("<>\"'\n\r/")  # in the name of an argument: it stands in a tag


def tagged_call(grammar: TaggedGrammar) -> RenderCall:
    """Calls as `grammar` reads them."""
    return partial(_call, grammar)


def _call(grammar: TaggedGrammar, rules: LarkRules, name: str, parameters: Schema) -> str:
    """The expression of a call of `name` behind what opens its block."""
    spelling = grammar.spelling
    parts = [literal(f"{grammar.call.start}{_named(grammar, name)}{grammar.call.end}")]
    if not grammar.call.start:
        parts = [literal(name)]
    parts.append(literal(spelling.newline))
    for member in object_members(parameters, parameters):
        if _UNFIT.intersection(member.key) or member.key != member.key.strip():
            raise RequestError(
                f"The parameter {member.key[:100]!r} of the tool {name!r} cannot be written in this"
                " model's format of calls: it stands in a tag there. Rename it.",
                param="tools",
            )
        argument = rules.add(_argument(grammar, rules, member.key, member.schema, parameters))
        parts.append(argument if member.required else f"{argument}?")
    parts.append(literal(grammar.call.close + spelling.after_call))
    return rules.add(sequence(*parts))


def _named(grammar: TaggedGrammar, name: str) -> str:
    return f'name="{name}"' if grammar.spelling.attributes else name


def _argument(
    grammar: TaggedGrammar, rules: LarkRules, key: str, schema: Schema, root: Schema
) -> str:
    types = property_types(root, key)
    kinds = list(value_kinds(schema, root))
    spelling = grammar.spelling
    if not spelling.string_flag:
        return _element(grammar, key, "", _values(grammar, rules, kinds, types, root))
    elements = []
    for is_string in (True, False):
        flagged = [part for kind in kinds if (part := _of_flag(kind, is_string=is_string))]
        flag = STRING if is_string else frozenset()
        if flagged:
            flag_text = f' string="{as_json(is_string)}"'
            value = _values(grammar, rules, flagged, flag, root)
            elements.append(_element(grammar, key, flag_text, value))
    return choice(*elements)


def _element(grammar: TaggedGrammar, key: str, flag: str, value: str) -> str:
    """`value` brings the closing tag."""
    spelling, argument = grammar.spelling, grammar.argument
    head = f"{argument.start}{_named(grammar, key)}{flag}{argument.end}"
    if grammar.value_start:
        head += spelling.newline + grammar.value_start
    frame = "\n" if grammar.framed else ""
    return sequence(literal(head + frame), value, literal(spelling.newline))


def _of_flag(kind: ValueKind, *, is_string: bool) -> ValueKind | None:
    """What of `kind` is a string, or what is none."""
    if not kind.values:
        return kind if kind.is_string == is_string else None
    values = tuple(value for value in kind.values if isinstance(value, str) == is_string)
    return ValueKind(kind.schema, is_string=is_string, values=values) if values else None


def _values(
    grammar: TaggedGrammar, rules: LarkRules, kinds: list[ValueKind], types: Types, root: Schema
) -> str:
    values = [_value(grammar, rules, kind, types, root) for kind in kinds]
    if not any(values):
        raise RequestError(
            "A parameter of a tool allows only values that cannot be told from others in this"
            f" model's format of calls: {as_json([kind.values for kind in kinds])[:200]}.",
            param="tools",
        )
    return rules.add(choice(*filter(None, values)))


def _value(
    grammar: TaggedGrammar, rules: LarkRules, kind: ValueKind, types: Types, root: Schema
) -> str:
    """A value up to and with the closing tag; "" if none of its values can be written."""
    frame = "\n" if grammar.framed else ""
    close = grammar.argument.close
    if kind.values:
        texts = [text for value in kind.values if (text := _spelled(grammar, value, types))]
        ways = choice(*map(literal, texts)) if texts else ""
        return sequence(ways, literal(frame + close)) if ways else ""
    if not kind.is_string:
        return sequence(
            rules.json({**kind.schema, **shared_definitions(root)}), literal(frame + close)
        )
    follow = (grammar.argument.start, grammar.call.close, grammar.close)
    line_starts = tuple(filter(None, follow)) if grammar.close_may_miss else ()
    unlike = tuple(_LIKE[name] for name in sorted(types - STRING)) if types != STRING else ()
    return raw_text(rules, kind.schema, close, frame=frame, line_starts=line_starts, unlike=unlike)


def _spelled(grammar: TaggedGrammar, value: object, types: Types) -> str | None:
    """The text that stands for `value`; None if there is none that the parser would read so."""
    text = value if isinstance(value, str) else as_json(value)
    untyped = "json" if grammar.spelling.string_flag else grammar.untyped
    read = json.loads(typed_json(text, types or _untyped(untyped, value), untyped))
    same = as_json(read) == as_json(value)
    return text if same and text and grammar.argument.close not in text else None


def _untyped(untyped: str, value: object) -> Types:
    return STRING if untyped == "string" and isinstance(value, str) else frozenset()
