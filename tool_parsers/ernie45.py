"""ERNIE-4.5, the thinking variants: as hermes; replies in `<response>`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect("ernie45", ("<tool_call>",), json_block("</tool_call>"))
REASONING = ReasoningDialect(
    "ernie45",
    starts=("<think>",),
    ends=("</think>",),
    answer_tags=(("<response>", "</response>"),),
)
