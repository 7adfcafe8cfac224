"""Schemas that would take llguidance too long, or too deep, are refused before it sees them."""

from __future__ import annotations

import json

import pytest

from ftllm.errors import RequestError
from ftllm.text.grammar import Grammar
from ftllm.text.schema_limits import check_schema
from ftllm.text.tokenizer import Tokenizer
from tests.text.grammar_walk import Walker


@pytest.mark.parametrize("value", [1, 5, 0.01, 2.5, 1000, 999_983, 1e6, 1e-7, 0, -3, True, "x"])
def test_multiples_that_are_fine(value: object) -> None:
    check_schema({"items": [{"multipleOf": value}, {"multipleOf": 1}]})


@pytest.mark.parametrize("value", [1_000_003, 9_973_000, 1e300, 3e6, 1.0000071])
def test_a_multiple_with_too_many_remainders(value: object) -> None:
    with pytest.raises(RequestError, match="multipleOf"):
        check_schema({"properties": {"a": {"multipleOf": value}}})


def test_multiples_together() -> None:
    check_schema({"allOf": [{"multipleOf": 999}, {"multipleOf": 1000}, {"multipleOf": 0.5}]})
    with pytest.raises(RequestError, match="99400891"):
        check_schema({"allOf": [{"multipleOf": 9973}, {"multipleOf": 9967}]})


def chain(length: int) -> dict[str, object]:
    """Objects, one in the other by reference."""
    definitions: dict[str, object] = {f"d{length}": {"type": "integer"}}
    for place in range(length):
        inner = {"$ref": f"#/$defs/d{place + 1}"}
        definitions[f"d{place}"] = {"type": "object", "properties": {"a": inner}, "required": ["a"]}
    return {"$ref": "#/$defs/d0", "$defs": definitions}


def test_a_long_chain_of_references_is_followed(byte_level: Tokenizer) -> None:
    """Deeper than a thread's usual stack is: the process must survive."""
    walker = Walker(byte_level)
    walker.compiler.prepare().result()  # starts the first thread
    walker.begin(Grammar.json_schema(chain(800)))
    with pytest.raises(RequestError, match="3001 references"):
        check_schema(chain(3000))


def test_many_properties() -> None:
    check_schema({"properties": {f"p{n}": {} for n in range(1000)}})
    with pytest.raises(RequestError, match="1001 properties"):
        check_schema({"properties": {f"p{n}": {} for n in range(1001)}})


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.json_schema('{"anyOf": [' * 200 + "{}" + "]}" * 200),
        Grammar.json_schema('{"anyOf": [' * 20_000 + "{}" + "]}" * 20_000),
        Grammar.lark("start: " + "(" * 20_000 + '"a"' + ")" * 20_000),
        Grammar.lark("root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000),
        Grammar.regex("(" * 20_000 + "a" + ")" * 20_000),
        Grammar.lark("start: r0\n" + "\n".join(f"r{n}: r{n + 1}" for n in range(3000))),
        Grammar.lark('start: "a" %json {"multipleOf": 9999991}'),
        Grammar.structural_tag(
            json.dumps(
                {
                    "triggers": ["<"],
                    "structures": [{"begin": "<", "schema": {"multipleOf": 9999991}, "end": ">"}],
                }
            )
        ),
    ],
)
def test_what_is_nested_or_long_without_measure_is_refused(
    byte_level: Tokenizer, grammar: Grammar
) -> None:
    with pytest.raises(RequestError):
        Walker(byte_level).begin(grammar)
