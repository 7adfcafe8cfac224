"""Gemma 4: `<|tool_call>call:f{k:<|"|>text<|"|>,n:1}<tool_call|>`; thinking in a channel."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.gemma_notation import gemma_call

TOOL = ToolDialect("gemma4", ("<|tool_call>",), gemma_call('<|"|>', "<tool_call|>"))
REASONING = ReasoningDialect("gemma4", ("<|channel>thought",), ("<channel|>",))
