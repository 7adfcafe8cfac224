"""LFM2: `<|tool_call_start|>[f(a=1), g()]<|tool_call_end|>`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls("<|tool_call_end|>")
TOOL = ToolDialect("lfm2", ("<|tool_call_start|>",), GRAMMAR.parse)
