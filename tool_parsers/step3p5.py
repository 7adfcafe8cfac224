"""Step-3.5 and 3.7: the mark-up of Qwen3-Coder."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.qwen3_coder import GRAMMAR, LAYOUT

TOOL = ToolDialect("step3p5", ("<tool_call>", "<function="), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("step3p5")
