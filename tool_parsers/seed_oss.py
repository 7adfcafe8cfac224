"""Seed-OSS: the tags of Qwen3-Coder in a block of its own, with values as they stand.

<seed:tool_call>
<function=f>
<parameter=key>value</parameter>
</function>
</seed:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("<function=", "</function>"),
    argument=Tag("<parameter=", "</parameter>"),
    close="</seed:tool_call>",
)
TOOL = ToolDialect("seed_oss", ("<seed:tool_call>",), GRAMMAR.parse)
REASONING = ReasoningDialect("seed_oss", ("<seed:think>",), ("</seed:think>",))
