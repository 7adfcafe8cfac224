"""Granite 3."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect(
    "granite",
    starts=("Here is my thought process:", "Here's my thought process:"),
    ends=("Here is my response:", "Here's my response:"),
)
