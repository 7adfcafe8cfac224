"""Kimi-K2, its Thinking variants and K2.5."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("kimi_k2")
