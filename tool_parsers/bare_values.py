"""Grammars of arguments that are written one by one and not, as a whole, in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftllm.errors import RequestError
from ftllm.tool_parsers.call_layout import RenderCall
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.schema_types import schema_types
from ftllm.tool_parsers.tool_schemas import Schema

# Of the whole object; an argument for itself does not know of them.
_UNSUPPORTED = (
    "anyOf",
    "oneOf",
    "not",
    "if",
    "dependentRequired",
    "dependentSchemas",
    "minProperties",
    "patternProperties",
    "propertyNames",
)
_MAX_REFERENCES = 32


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tool. `schema` is complete: it carries the definitions it refers to."""

    key: str
    schema: Schema
    required: bool


def arguments_of(name: str, parameters: Schema) -> list[Argument]:
    """The arguments of a tool, in the order of its schema. Raises `RequestError` for schemas whose
    arguments depend on each other."""
    root = parameters
    parameters = expanded(parameters, root)
    for word in _UNSUPPORTED:
        if word in parameters:
            raise RequestError(
                f"The parameters of {name} have {word!r} at their top, which cannot be guaranteed"
                " in this model's format of calls; say it within the properties, or leave out"
                " strict and use tool_choice auto",
                param="tools",
                code="invalid_grammar",
            )
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping):
        return []
    listed = parameters.get("required")
    required = listed if isinstance(listed, list) else []
    definitions = {word: root[word] for word in ("$defs", "definitions") if word in root}
    return [
        Argument(
            key,
            {**definitions, **schema} if isinstance(schema, Mapping) else definitions,
            key in required,
        )
        for key, schema in properties.items()
    ]


def expanded(schema: Schema, root: Schema) -> Schema:
    """`schema`, or what its `$ref` leads to."""
    for _ in range(_MAX_REFERENCES):
        reference = schema.get("$ref")
        target: object = root
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        for step in reference[2:].split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            return schema
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def separated(rules: LarkRules, items: Sequence[tuple[str, bool]], separator: str) -> str:
    """The items in order, each (expression, whether it is required), with `separator` between."""
    behind_one = ""  # what may come behind an item
    first = ""  # what may come where there was none yet
    for expression, required in reversed(items):
        begins = sequence(expression, behind_one)
        follows = sequence(literal(separator), expression)
        if required:
            first = begins
            behind_one = sequence(follows, behind_one)
        else:
            first = f"({begins} | {first})" if first else f"({begins})?"
            behind_one = sequence(f"({follows})?", behind_one)
        if behind_one:
            behind_one = rules.add(behind_one)
        first = rules.add(first)
    return first


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a value: as a bare string or as JSON, up to and with its end."""

    is_string: bool
    expression: str
    is_any: bool = False  # any text at all


def bare_forms(
    rules: LarkRules, schema: Schema, end: str, *, without: Sequence[str] = ()
) -> list[Form]:
    """The ways to write a value that `schema` allows, strings without quotes, before `end`. A
    string holds none of `without`."""
    root = schema
    schema = expanded(schema, root)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list) and values:
        return [_value_form(value, end) for value in values]
    for word in ("anyOf", "oneOf"):
        parts = schema.get(word)
        if isinstance(parts, list) and parts:
            forms = [
                form
                for part in parts
                if isinstance(part, Mapping)
                for form in bare_forms(rules, _with_definitions(part, root), end, without=without)
            ]
            return _merged(forms)
    types = schema_types(schema, root)
    forms = []
    if not types or "string" in types:
        patterns = text_patterns(schema)
        text = rules.text_until(end, patterns, without=without)
        forms.append(Form(is_string=True, expression=text, is_any=not patterns))
    others = types - {"string"}
    if others:
        json_schema = {**schema, "type": sorted(others)}
        forms.append(
            Form(is_string=False, expression=sequence(rules.json(json_schema), literal(end)))
        )
    return forms


def _merged(forms: list[Form]) -> list[Form]:
    """Without a form that is there twice."""
    return list(dict.fromkeys(forms))


def _with_definitions(schema: Mapping[str, object], root: Schema) -> Schema:
    return {**{word: root[word] for word in ("$defs", "definitions") if word in root}, **schema}


def _value_form(value: object, end: str) -> Form:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Form(is_string=isinstance(value, str), expression=literal(f"{text}{end}"))


def text_patterns(schema: Schema) -> list[str]:
    """Regular expressions that a string has to match, all of them."""
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    parts = []
    if isinstance(shortest, int) or isinstance(longest, int):
        low = shortest if isinstance(shortest, int) else 0
        high = longest if isinstance(longest, int) else ""
        parts.append(f"/(?s:.{{{low},{high}}})/")
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        before = "" if pattern.startswith("^") else "(?s:.*)"
        behind = "" if pattern.endswith("$") and not pattern.endswith("\\$") else "(?s:.*)"
        inner = pattern.removeprefix("^")
        inner = inner if behind else inner[:-1]
        inner = re.sub(r"(?<!\\)((?:\\\\)*)/", r"\1\\/", inner)
        parts.append(f"/{before}(?:{inner}){behind}/")
    return parts


def tagged_call(
    *,
    name_end: str,
    key_start: str,
    key_end: str,
    value_end: str,
    call_end: str,
    json_key_end: str | None = None,
    without: Sequence[str] = (),
) -> RenderCall:
    """Name, then the arguments: a key between two texts and a bare value up to its end.

    With `json_key_end` that text stands between the key and a value that is no string. `without`
    are texts that the parser may take for the end of a string, too.
    """
    json_key_end = key_end if json_key_end is None else json_key_end

    def argument(rules: LarkRules, each: Argument) -> str:
        forms: dict[str, list[str]] = {}
        known = bare_forms(rules, each.schema, value_end, without=without)
        if json_key_end == key_end:  # nothing tells a string from the rest, so one is enough
            known = [form for form in known if form.is_any] or known
        for form in known:
            end = key_end if form.is_string else json_key_end
            forms.setdefault(f"{key_start}{each.key}{end}", []).append(form.expression)
        options = [sequence(literal(head), choice(*forms[head])) for head in forms]
        return rules.add(choice(*options))

    def call(rules: LarkRules, name: str, schema: Schema) -> str:
        parts = [
            argument(rules, each) + ("" if each.required else "?")
            for each in arguments_of(name, schema)
        ]
        return sequence(literal(name + name_end), *parts, literal(call_end))

    return call


def python_call(rules: LarkRules, name: str, schema: Schema) -> str:
    """`f(key=value, …)`; JSON values are Python literals but for three constants, which are known
    in both spellings."""
    items = [
        (sequence(literal(f"{each.key}="), rules.json(each.schema)), each.required)
        for each in arguments_of(name, schema)
    ]
    return sequence(literal(f"{name}("), separated(rules, items, ", "), literal(")"))
