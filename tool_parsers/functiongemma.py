"""FunctionGemma: `<start_function_call>call:f{k:<escape>text<escape>,n:1}<end_function_call>`."""

from __future__ import annotations

from ftllm.tool_parsers import gemma_layout
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.gemma_notation import gemma_call

TOOL = ToolDialect(
    "functiongemma",
    ("<start_function_call>",),
    gemma_call("<escape>", "<end_function_call>"),
    CallLayout(
        "<start_function_call>call:",
        "<end_function_call><start_function_call>call:",
        "<end_function_call>",
        gemma_layout.gemma_call("<escape>"),
    ),
)
