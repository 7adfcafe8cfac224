"""Gemma 4: `<|tool_call>call:f{k:<|"|>text<|"|>,n:1}<tool_call|>`; thinking in a channel."""

from __future__ import annotations

from ftllm.tool_parsers import gemma_layout
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.gemma_notation import gemma_call

TOOL = ToolDialect(
    "gemma4",
    ("<|tool_call>",),
    gemma_call('<|"|>', "<tool_call|>"),
    CallLayout(
        "<|tool_call>call:",
        "<tool_call|><|tool_call>call:",
        "<tool_call|>",
        gemma_layout.gemma_call('<|"|>'),
    ),
)
REASONING = ReasoningDialect("gemma4", ("<|channel>thought",), ("<channel|>",))
