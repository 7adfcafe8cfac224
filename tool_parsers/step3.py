"""Step-3."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("step3")
