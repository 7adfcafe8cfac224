"""DeepSeek V3-0324 and R1-0528."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags

REASONING = think_tags("deepseek_v3")
