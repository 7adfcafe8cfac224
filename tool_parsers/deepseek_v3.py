"""DeepSeek V3-0324 and R1-0528: JSON in a fence, between the markers of V3.1."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.json_sections import JsonSections

GRAMMAR = JsonSections(
    start="<｜tool▁calls▁begin｜>",
    end="<｜tool▁calls▁end｜>",
    call_start="<｜tool▁call▁begin｜>",
    prefix="function<｜tool▁sep｜>",
    separator="```json",
    suffix="```",
    call_end="<｜tool▁call▁end｜>",
)
TOOL = ToolDialect("deepseek_v3", (GRAMMAR.start, GRAMMAR.call_start), GRAMMAR.parse)
REASONING = think_tags("deepseek_v3")
