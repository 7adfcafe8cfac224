"""DeepSeek V3.1: the name, a separator and JSON between markers."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, headed
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_sections import JsonSections

GRAMMAR = JsonSections(
    start="<｜tool▁calls▁begin｜>",
    end="<｜tool▁calls▁end｜>",
    call_start="<｜tool▁call▁begin｜>",
    separator="<｜tool▁sep｜>",
    call_end="<｜tool▁call▁end｜>",
)
_LAYOUT = CallLayout(
    start=GRAMMAR.start + GRAMMAR.call_start,
    between=GRAMMAR.call_end + GRAMMAR.call_start,
    end=GRAMMAR.call_end + GRAMMAR.end,
    call=headed("", GRAMMAR.separator),
)
TOOL = ToolDialect("deepseek_v31", (GRAMMAR.start, GRAMMAR.call_start), GRAMMAR.parse, _LAYOUT)
