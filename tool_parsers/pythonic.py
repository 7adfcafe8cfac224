"""Llama-3.2 of 1B and 3B, ToolACE: `[f(a=1, b='x'), g()]`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.python_calls import PythonCalls

GRAMMAR = PythonCalls()
TOOL = ToolDialect("pythonic", (), GRAMMAR.parse, bare=("[",))
