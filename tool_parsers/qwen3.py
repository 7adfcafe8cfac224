"""Qwen3, QwQ: reasoning between `<think>` and `</think>`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("qwen3")
