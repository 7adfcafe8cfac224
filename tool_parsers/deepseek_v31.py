"""DeepSeek V3.1: the name, a separator and JSON between markers."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_sections import JsonSections

GRAMMAR = JsonSections(
    start="<｜tool▁calls▁begin｜>",
    end="<｜tool▁calls▁end｜>",
    call_start="<｜tool▁call▁begin｜>",
    separator="<｜tool▁sep｜>",
    call_end="<｜tool▁call▁end｜>",
)
TOOL = ToolDialect("deepseek_v31", (GRAMMAR.start, GRAMMAR.call_start), GRAMMAR.parse)
