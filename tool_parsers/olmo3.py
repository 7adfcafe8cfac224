"""Olmo-3: a call a line between `<function_calls>` and `</function_calls>`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.member_lists import python_call
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls("</function_calls>")
TOOL = ToolDialect(
    "olmo3",
    ("<function_calls>",),
    GRAMMAR.parse,
    CallLayout("<function_calls>", "\n", "</function_calls>", python_call),
)
