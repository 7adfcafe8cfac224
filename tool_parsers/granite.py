"""Granite 3: `<|tool_call|>[{…}]` in 3.0, `<tool_call>[{…}]` since; reasoning behind phrases."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "granite",
    ("<|tool_call|>", "<tool_call>"),
    json_block("</tool_call>"),
    CallLayout("<|tool_call|>[", ", ", "]", json_object()),
    synonyms=("<tool_call>",),
)
REASONING = ReasoningDialect(
    "granite",
    starts=("Here is my thought process:", "Here's my thought process:"),
    ends=("Here is my response:", "Here's my response:"),
)
