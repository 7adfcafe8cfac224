"""DeepSeek V3-0324 and R1-0528: JSON in a fence, between the markers of V3.1."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, headed
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
_LAYOUT = CallLayout(
    start=GRAMMAR.start + GRAMMAR.call_start + GRAMMAR.prefix,
    between="\n```" + GRAMMAR.call_end + "\n" + GRAMMAR.call_start + GRAMMAR.prefix,
    end="\n```" + GRAMMAR.call_end + GRAMMAR.end,
    call=headed("", "\n```json\n"),
)
TOOL = ToolDialect("deepseek_v3", (GRAMMAR.start, GRAMMAR.call_start), GRAMMAR.parse, _LAYOUT)
REASONING = think_tags("deepseek_v3")
