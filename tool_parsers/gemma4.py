"""Gemma 4."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect("gemma4", ("<|channel>thought\n",), ("<channel|>",))
