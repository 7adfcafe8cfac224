"""Hunyuan A13B."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect(
    "hunyuan_a13b",
    starts=("<think>",),
    ends=("</think>",),
    answer_tags=(("<answer>", "</answer>"), ("助手：", "")),  # noqa: RUF001 (as the model writes it)
)
