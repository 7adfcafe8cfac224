"""Brackets inside brackets, deeper than any recursion goes: no limit of Python is met."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm.tool_parsers import OutputParser, parse_output
from tests.tool_parsers.case_files import TOOLS
from tests.tool_parsers.stream_collector import stream, without_ids

DEPTH = 5_000
# Of each value grammar: dialect, text before and behind the brackets, one bracket of either kind.
GRAMMARS = [
    ("hermes", '<tool_call>\n{"name": "search", "arguments": {"filters": ', "}}", '{"a":', "}"),
    ("mistral", "[TOOL_CALLS]search[ARGS]", "", '{"a":', "}"),
    ("llama3_json", '{"name": "search", "parameters": {"tags": ', "}}", "[", "]"),
    ("pythonic", "[search(query='q', filters=", ")]", "{'a': ", "}"),
    ("gemma4", "<|tool_call>call:search{filters:", "}<tool_call|>", "{a:", "}"),
    (
        "qwen3_coder",
        "<tool_call>\n<function=search>\n<parameter=filters>\n",
        "\n</parameter>\n</function>\n</tool_call>",
        '{"a":',
        "}",
    ),
    (
        "minimax_m2",
        '<minimax:tool_call>\n<invoke name="search">\n<parameter name="tags">',
        "</parameter>\n</invoke>\n</minimax:tool_call>",
        "[",
        "]",
    ),
]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda grammar: grammar[0])
def test_deep_nesting(
    grammar: tuple[str, str, str, str, str], reason: Any, *, closed: bool
) -> None:
    dialect, before, behind, left, right = grammar
    text = before + left * DEPTH
    if closed:
        text += "1" + right * DEPTH + behind
    options: dict[str, Any] = {"tools": TOOLS, "tool_dialect": dialect}
    whole = parse_output(text, finish_reason=reason, **options)
    assert [call.name for call in whole.tool_calls] == ["search"]
    assert whole.content is None
    pieces = [text[at : at + 97] for at in range(0, len(text), 97)]
    assert without_ids(stream(OutputParser(**options), pieces, reason)) == without_ids(whole)
