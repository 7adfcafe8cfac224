"""The grammars that constrain calls: what is sampled under one parses, and fits its schema."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher, LLTokenizer

from ftllm.errors import RequestError
from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS, parse_output
from ftllm.tool_parsers.schema_types import property_names
from tests.tool_parsers.case_files import TOOLS

TOKENIZER = LLTokenizer("byte")
VARIED: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "varied",
            "parameters": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "pattern": "^[A-Z]{2}/[0-9]+$"},
                    "short": {"type": "string", "minLength": 2, "maxLength": 5},
                    "kind": {"enum": ["a b", "c", 3, None]},
                    "level": {"type": "integer", "minimum": 1, "maximum": 9},
                    "place": {"$ref": "#/$defs/Place"},
                    "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                    "list": {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
                    "tree": {"$ref": "#/$defs/Tree"},
                },
                "required": ["code", "level", "list"],
                "additionalProperties": False,
                "$defs": {
                    "Place": {
                        "type": "object",
                        "properties": {"x": {"type": "number"}, "name": {"type": "string"}},
                        "required": ["x"],
                        "additionalProperties": False,
                    },
                    "Tree": {
                        "type": "object",
                        "properties": {
                            "leaves": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
                        },
                        "additionalProperties": False,
                    },
                },
            },
        },
    }
]
every_dialect = pytest.mark.parametrize("dialect", sorted(TOOL_DIALECTS))
both_sets = pytest.mark.parametrize("tools", [TOOLS, VARIED], ids=["tools", "varied"])


def compiled(source: str) -> LLMatcher:
    matcher = LLMatcher(TOKENIZER, LLMatcher.grammar_from_lark(source), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    assert not matcher.get_grammar_warnings()
    return matcher


def walk(source: str, seed: int) -> str:
    """A text that the grammar allows: at random, but often with a literal of the grammar itself, so
    that it comes to an end."""
    matcher = compiled(source)
    rng = random.Random(seed)
    rules = re.sub(r"(?m)^TEXT_.*|%json.*", "", source)
    hints = [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)+"', rules)]
    hints = [hint.encode() for hint in dict.fromkeys(hints)] + [b'"', b"}", b"]", b" "]
    data = bytearray()
    while not matcher.is_stopped():
        if matcher.is_accepting() and rng.random() < 0.5:
            break
        tokens = _next(matcher, rng, hints)
        assert matcher.consume_tokens(tokens), matcher.get_error()
        data += bytes(tokens)
        assert len(data) < 20_000
    return data.decode("utf-8")


def _next(matcher: LLMatcher, rng: random.Random, hints: Sequence[bytes]) -> list[int]:
    for hint in rng.sample(hints, len(hints)) if rng.random() < 0.5 else ():
        tokens = list(hint)
        if matcher.validate_tokens(tokens) == len(tokens):
            return tokens
    mask = matcher.compute_bitmask()
    allowed = [byte for byte in range(256) if mask[byte >> 3] >> (byte & 7) & 1]
    # Without exponents, which may lead to numbers that nobody can hold.
    plain = [byte for byte in allowed if (32 <= byte < 127 or byte == 10) and chr(byte) not in "eE"]
    return [rng.choice(plain or allowed)]


def check(dialect: str, text: str, tools: Sequence[Mapping[str, Any]], *, most: int | None) -> None:
    reasoning = dialect if dialect in REASONING_DIALECTS else None
    output = parse_output(text, tools=tools, tool_dialect=dialect, reasoning_dialect=reasoning)
    assert output.content is None, (text, output)
    assert 1 <= len(output.tool_calls) <= (most or len(text)), (text, output)
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    for call in output.tool_calls:
        jsonschema.validate(json.loads(call.arguments), schemas[call.name])


@every_dialect
@both_sets
def test_what_a_grammar_allows_parses_and_fits(dialect: str, tools: list[dict[str, Any]]) -> None:
    source = TOOL_DIALECTS[dialect].grammar(tools, parallel=True)
    for seed in range(8):
        check(dialect, walk(source, seed), tools, most=None)


@every_dialect
def test_one_call_where_calls_may_not_be_parallel(dialect: str) -> None:
    source = TOOL_DIALECTS[dialect].grammar(TOOLS, parallel=False)
    for seed in range(3):
        check(dialect, walk(source, seed), TOOLS, most=1)


@every_dialect
def test_behind_the_trigger(dialect: str) -> None:
    known = TOOL_DIALECTS[dialect]
    source = known.grammar_behind_trigger(TOOLS, parallel=True)
    if known.trigger is None:
        assert source is None
        assert dialect in ("llama3_json", "pythonic", "xlam")
        return
    assert source is not None
    for seed in range(3):
        check(dialect, known.trigger + walk(source, seed), TOOLS, most=None)


@every_dialect
def test_a_name_that_no_tool_has_is_not_allowed(dialect: str) -> None:
    source = TOOL_DIALECTS[dialect].grammar(TOOLS[:1], parallel=False)
    text = walk(source, 0)
    other = text.replace("get_weather", "get_feather")
    assert other != text
    tokens = list(other.encode())
    assert compiled(source).validate_tokens(tokens) < len(tokens)


def test_required_arguments_are_required() -> None:
    source = TOOL_DIALECTS["qwen3_coder"].grammar(TOOLS[:1], parallel=False)
    text = "<tool_call>\n<function=get_weather>\n{}</function>\n</tool_call>"
    city = "<parameter=city>\nParis\n</parameter>\n"
    days = "<parameter=days>\n3\n</parameter>\n"
    for inner, fits in ((city, True), (city + days, True), (days, False), ("", False)):
        tokens = list(text.format(inner).encode())
        assert (compiled(source).validate_tokens(tokens) == len(tokens)) is fits, inner


def test_special_markers_end_text_as_tokens() -> None:
    plain = TOOL_DIALECTS["glm45"].grammar(TOOLS, parallel=True)
    special = TOOL_DIALECTS["glm45"].grammar(TOOLS, parallel=True, special={"</arg_value>"})
    assert 'suffix="</arg_value>\\n"' in plain
    assert "suffix" not in special
    for line in special.splitlines():
        assert not re.match(r"[A-Z]", line) or '"</arg_value>' not in line


def test_the_vocabulary_tells_the_layout_of_mistral() -> None:
    mistral = TOOL_DIALECTS["mistral"]
    assert "[ARGS]" in mistral.grammar(TOOLS, parallel=True, special={"[ARGS]"})
    assert "[ARGS]" not in mistral.grammar(TOOLS, parallel=True)
    text = walk(mistral.grammar(TOOLS, parallel=True, special={"[ARGS]"}), 1)
    check("mistral", text, TOOLS, most=None)


def test_arguments_that_depend_on_each_other_are_refused_where_they_stand_alone() -> None:
    parameters = {"type": "object", "properties": {"a": {}}, "dependentRequired": {"a": ["b"]}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    with pytest.raises(RequestError, match="'dependentRequired'"):
        TOOL_DIALECTS["glm45"].grammar(tools, parallel=True)
    assert property_names(parameters) == ("a",)
    with pytest.raises(RequestError, match="tools is empty"):
        TOOL_DIALECTS["hermes"].grammar([], parallel=True)
