"""ERNIE-4.5, the thinking variants."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect(
    "ernie45",
    starts=("<think>",),
    ends=("</think>",),
    answer_tags=(("<response>", "</response>"),),
)
