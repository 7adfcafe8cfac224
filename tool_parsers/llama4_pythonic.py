"""Llama 4: `<|python_start|>[f(a=1), g()]<|python_end|>`; the tokens may be missing."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.member_lists import python_call
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls("<|python_end|>")
TOOL = ToolDialect(
    "llama4_pythonic",
    ("<|python_start|>",),
    GRAMMAR.parse,
    CallLayout("<|python_start|>[", ", ", "]<|python_end|>", python_call),
    bare=("[",),
)
