from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ftllm.tool_parsers.argument_check import arguments_fit

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "a city"},
        "days": {"type": ["integer", "null"]},
        "unit": {"enum": ["celsius", 1]},
        "tags": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"const": False}]}},
        "place": {
            "type": "object",
            "properties": {"lat": {"type": "number"}},
            "required": ["lat"],
            "additionalProperties": {"type": "boolean"},
        },
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"city": "Oslo"},
        {"city": "", "days": 3, "unit": 1, "tags": ["a", False], "place": {"lat": 1, "sea": True}},
        {"days": None, "city": "Oslo", "unit": "celsius", "place": {"lat": 0.5}},
    ],
)
def test_fits(arguments: object) -> None:
    assert arguments_fit(json.dumps(arguments), SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"city": 1},
        {"city": "Oslo", "days": True},
        {"city": "Oslo", "days": 1.5},
        {"city": "Oslo", "unit": True},  # not 1
        {"city": "Oslo", "unit": "kelvin"},
        {"city": "Oslo", "tags": [0]},
        {"city": "Oslo", "place": {}},
        {"city": "Oslo", "place": {"lat": 1, "sea": 1}},
        {"city": "Oslo", "town": "Oslo"},
        ["Oslo"],
    ],
)
def test_does_not_fit(arguments: object) -> None:
    assert not arguments_fit(json.dumps(arguments), SCHEMA)


def test_broken_json_does_not_fit() -> None:
    assert not arguments_fit('{"city": ', SCHEMA)
    assert not arguments_fit("[" * 100_000, {})


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a$"},
        {"$ref": "#/$defs/City"},
        {"type": "strange"},
        {"type": "object", "patternProperties": {"a": {}}},
        {"allOf": []},
        "string",
    ],
)
def test_what_is_not_known_is_not_met(schema: object) -> None:
    value: object = {} if isinstance(schema, dict) and schema.get("type") == "object" else "a"
    assert not arguments_fit(json.dumps({"city": value}), {"properties": {"city": schema}})


def test_without_a_schema_there_are_no_arguments() -> None:
    assert arguments_fit("{}", {})
    assert not arguments_fit('{"a": 1}', {})
    assert arguments_fit('{"a": 1}', {"additionalProperties": True})
