"""Values of tagged dialects become what the JSON Schema of their parameter says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ftllm.tool_parsers import parse_output

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
NULL = {"type": "null"}
ARRAY = {"type": "array"}
OBJECT = {"type": "object"}
DEFS = {
    "Point": {"type": "object", "properties": {"x": INTEGER}},
    "Tags": {"type": "array", "items": STRING},
    "Word": {"$ref": "#/$defs/Plain"},
    "Plain": STRING,
    "Loop": {"$ref": "#/$defs/Loop"},
    "a/b~c": INTEGER,
}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _any(*schemas: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


def _tools(schema: object) -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": {"v": schema}, "$defs": DEFS}
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


def _qwen(value: str) -> str:
    parameter = f"<parameter=v>\n{value}\n</parameter>"
    return f"<tool_call>\n<function=f>\n{parameter}\n</function>\n</tool_call>"


def _glm(value: str) -> str:
    return f"<tool_call>f\n<arg_key>v</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>"


def _minimax(value: str) -> str:
    invoke = f'<invoke name="f">\n<parameter name="v">{value}</parameter>\n</invoke>'
    return f"<minimax:tool_call>\n{invoke}\n</minimax:tool_call>"


def _argument(text: str, dialect: str, tools: list[dict[str, Any]]) -> str:
    output = parse_output(text, tools=tools, tool_dialect=dialect)
    assert output.content is None
    (call,) = output.tool_calls
    arguments = json.loads(call.arguments)
    assert list(arguments) == ["v"]
    return json.dumps(arguments["v"], ensure_ascii=False)


# (schema, value as the model writes it, JSON)
TYPED: list[tuple[dict[str, Any], str, str]] = [
    # {string} alone: verbatim
    (STRING, "007", '"007"'),
    (STRING, "true", '"true"'),
    (STRING, "null", '"null"'),
    (STRING, "None", '"None"'),
    (STRING, '{"a":1}', '"{\\"a\\":1}"'),
    (STRING, '"quoted"', '"\\"quoted\\""'),
    (STRING, "", '""'),
    ({"type": "string", "enum": ["1", "2"]}, "1", '"1"'),
    ({"enum": ["1", "two"]}, "1", '"1"'),
    ({"const": "5"}, "5", '"5"'),
    # null
    (_any(STRING, NULL), "null", "null"),
    (_any(STRING, NULL), "None", "null"),
    (_any(STRING, NULL), "NULL", "null"),
    (_any(STRING, NULL), "nullable", '"nullable"'),
    ({"type": ["string", "null"]}, "null", "null"),
    ({"type": ["string", "null"]}, "5", '"5"'),
    ({"type": "string", "nullable": True}, "null", "null"),
    (_any(INTEGER, NULL), "none", "null"),
    (_any(INTEGER, NULL), "5", "5"),
    ({"enum": ["a", None]}, "null", "null"),
    (NULL, "null", "null"),
    # integer: any size, never through a float
    (INTEGER, "5", "5"),
    (INTEGER, "-12", "-12"),
    (INTEGER, " 5 ", "5"),
    (INTEGER, "123456789012345678901234567890", "123456789012345678901234567890"),
    (INTEGER, "5 apples", '"5 apples"'),
    (INTEGER, "", '""'),
    ({"enum": [1, 2, 3]}, "2", "2"),
    ({"const": 7}, "7", "7"),
    # number: an integer where it is spelled as one
    (NUMBER, "5", "5"),
    (NUMBER, "5.0", "5.0"),
    (NUMBER, "1.25", "1.25"),
    (NUMBER, "-1e3", "-1000.0"),
    (NUMBER, "inf", '"inf"'),
    (NUMBER, "NaN", '"NaN"'),
    (NUMBER, "Infinity", '"Infinity"'),
    (NUMBER, "1e999", '"1e999"'),
    (NUMBER, "99999999999999999999", "99999999999999999999"),
    # boolean
    (BOOLEAN, "true", "true"),
    (BOOLEAN, "True", "true"),
    (BOOLEAN, "FALSE", "false"),
    (BOOLEAN, "yes", '"yes"'),
    # object and array: JSON, else a Python literal, else the text
    (OBJECT, '{"a": {"b": [1, null]}}', '{"a": {"b": [1, null]}}'),
    (OBJECT, "{'a': True, 'b': None, 'c': (1, 2)}", '{"a": true, "b": null, "c": [1, 2]}'),
    (OBJECT, "{}", "{}"),
    (OBJECT, "{broken", '"{broken"'),
    (ARRAY, '["a", 1]', '["a", 1]'),
    (ARRAY, "['a', \"it's\"]", '["a", "it\'s"]'),
    (ARRAY, "[]", "[]"),
    (ARRAY, "a, b", '"a, b"'),
    ({"properties": {"x": INTEGER}}, '{"x": 1}', '{"x": 1}'),
    ({"items": STRING}, '["x"]', '["x"]'),
    # the inside of a container is JSON and is left alone
    ({"type": "object", "properties": {"x": INTEGER}}, '{"x": "1"}', '{"x": "1"}'),
    ({"type": "array", "items": STRING}, "[1]", "[1]"),
    (OBJECT, '{"n": 123456789012345678901234567890}', '{"n": 123456789012345678901234567890}'),
    # several types: null, integer, number, boolean, object, array, string
    ({"type": ["integer", "string"]}, "5", "5"),
    ({"type": ["integer", "string"]}, "five", '"five"'),
    ({"type": ["number", "string"]}, "1.5", "1.5"),
    ({"type": ["boolean", "string"]}, "true", "true"),
    ({"type": ["string", "array"]}, '["a"]', '["a"]'),
    ({"type": ["string", "array"]}, "a", '"a"'),
    (_any(STRING, OBJECT), '{"a": 1}', '{"a": 1}'),
    ({"oneOf": [INTEGER, BOOLEAN]}, "true", "true"),
    ({"oneOf": [INTEGER, BOOLEAN]}, "1", "1"),
    ({"allOf": [INTEGER, {"minimum": 1}]}, "3", "3"),
    ({"allOf": [STRING, {"minLength": 1}]}, "3", '"3"'),
    ({"enum": ["red", 3, None]}, "3", "3"),
    ({"enum": ["red", 3, None]}, "red", '"red"'),
    # references
    (_ref("Point"), '{"x": 1}', '{"x": 1}'),
    (_ref("Tags"), '["a"]', '["a"]'),
    (_ref("Word"), "12", '"12"'),
    (_any(_ref("Point"), NULL), '{"x": 1}', '{"x": 1}'),
    (_any(_ref("Point"), NULL), "null", "null"),
    ({"allOf": [_ref("Point")], "description": "d"}, '{"x": 1}', '{"x": 1}'),
    (_ref("a~1b~0c"), "4", "4"),
    # type names that are not JSON Schema's
    ({"type": "str"}, "1", '"1"'),
    ({"type": "text"}, "1", '"1"'),
    ({"type": "varchar"}, "1", '"1"'),
    ({"type": "int"}, "1", "1"),
    ({"type": "int32"}, "1", "1"),
    ({"type": "uint"}, "1", "1"),
    ({"type": "long"}, "1", "1"),
    ({"type": "float"}, "1.5", "1.5"),
    ({"type": "float64"}, "1.5", "1.5"),
    ({"type": "double"}, "1.5", "1.5"),
    ({"type": "bool"}, "True", "true"),
    ({"type": "dict"}, '{"a": 1}', '{"a": 1}'),
    ({"type": "list"}, "[1]", "[1]"),
    ({"type": "arr"}, "[1]", "[1]"),
]


@pytest.mark.parametrize(("schema", "value", "expected"), TYPED)
def test_typed_by_the_schema(schema: dict[str, Any], value: str, expected: str) -> None:
    tools = _tools(schema)
    assert _argument(_qwen(value), "qwen3_coder", tools) == expected
    assert _argument(_glm(value), "glm45", tools) == expected
    assert _argument(_minimax(value), "minimax_m2", tools) == expected


@pytest.mark.parametrize("value", ["5", "true", "null", '{"a": 1}', "[1]", "text", '"q"'])
def test_without_a_schema_tags_are_strings(value: str) -> None:
    for schema in ({}, {"description": "anything"}):
        assert json.loads(_argument(_qwen(value), "qwen3_coder", _tools(schema))) == value
        assert json.loads(_argument(_minimax(value), "minimax_m2", _tools(schema))) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", "5"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("null", "null"),
        ('{"a": 1}', '{"a": 1}'),
        ("[1]", "[1]"),
        ("text", '"text"'),
        ('"q"', '"\\"q\\""'),  # its template writes strings as they are
    ],
)
def test_without_a_schema_glm_writes_json(value: str, expected: str) -> None:
    assert _argument(_glm(value), "glm45", _tools({})) == expected


@pytest.mark.parametrize(
    "schema",
    [_ref("Loop"), _ref("Nowhere"), {"$ref": "https://example.org/s"}, {"type": 3}, True, "string"],
)
def test_a_broken_schema_does_not_lose_the_call(schema: object) -> None:
    assert json.loads(_argument(_qwen("5"), "qwen3_coder", _tools(schema))) in ("5", 5)


@pytest.mark.parametrize(
    "parameters", [None, {}, {"type": "object"}, {"properties": None}, {"properties": []}]
)
def test_parameters_without_properties(parameters: object) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert json.loads(_argument(_qwen("x"), "qwen3_coder", tools)) == "x"


def test_a_function_that_is_no_tool_has_strings() -> None:
    tools = [{"type": "function", "function": {"name": "g"}}]
    assert json.loads(_argument(_qwen("5"), "qwen3_coder", tools)) == "5"


class TestWhiteSpaceOfStrings:
    def test_qwen_strips_one_newline_at_each_end(self) -> None:
        assert json.loads(_argument(_qwen("\n a\n"), "qwen3_coder", _tools(STRING))) == "\n a\n"

    @pytest.mark.parametrize("value", ["a\n", "\na", " a ", "\n", " "])
    def test_others_are_verbatim(self, value: str) -> None:
        assert json.loads(_argument(_glm(value), "glm45", _tools(STRING))) == value
        assert json.loads(_argument(_minimax(value), "minimax_m2", _tools(STRING))) == value


@pytest.mark.parametrize("value", ["&lt;b&gt;", "&amp;", "&#65;", "<b>x</b>", "<!-- x -->"])
def test_entities_and_foreign_tags_are_data(value: str) -> None:
    assert json.loads(_argument(_qwen(value), "qwen3_coder", _tools(STRING))) == value
    assert json.loads(_argument(_glm(value), "glm45", _tools(STRING))) == value
    assert json.loads(_argument(_minimax(value), "minimax_m2", _tools(STRING))) == value
