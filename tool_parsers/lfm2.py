"""LFM2: `<|tool_call_start|>[f(a=1), g()]<|tool_call_end|>`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.member_lists import python_call
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls("<|tool_call_end|>")
TOOL = ToolDialect(
    "lfm2",
    ("<|tool_call_start|>",),
    GRAMMAR.parse,
    CallLayout("<|tool_call_start|>[", ", ", "]<|tool_call_end|>", python_call),
)
