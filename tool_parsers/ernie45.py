"""ERNIE-4.5, the thinking variants: as hermes; replies in `<response>`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "ernie45",
    ("<tool_call>",),
    json_block("</tool_call>"),
    CallLayout("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", json_object()),
)
REASONING = ReasoningDialect(
    "ernie45",
    starts=("<think>",),
    ends=("</think>",),
    answer_tags=(("<response>", "</response>"),),
)
