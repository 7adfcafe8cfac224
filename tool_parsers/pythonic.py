"""Llama-3.2 of 1B and 3B, ToolACE: `[f(a=1, b='x'), g()]`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.member_lists import python_call
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls()
TOOL = ToolDialect(
    "pythonic", (), GRAMMAR.parse, CallLayout("[", ", ", "]", python_call), bare=("[",)
)
