"""Mistral, of all versions."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect

REASONING = ReasoningDialect("mistral", ("[THINK]",), ("[/THINK]",))
