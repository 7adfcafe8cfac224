"""Hunyuan A13B: `<tool_calls>[{…}]</tool_calls>`, in `<answer>` behind reasoning."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.json_calls import json_block

_LAYOUT = CallLayout("<tool_calls>[", ", ", "]</tool_calls>", json_object(), lead="<answer>\n")
TOOL = ToolDialect(
    "hunyuan_a13b",
    ("<tool_calls>",),
    json_block("</tool_calls>"),
    _LAYOUT,
    reply_prefix="助手：",
)
REASONING = ReasoningDialect(
    "hunyuan_a13b",
    starts=("<think>",),
    ends=("</think>",),
    answer_tags=(("<answer>", "</answer>"),),
)
