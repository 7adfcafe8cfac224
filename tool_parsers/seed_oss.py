"""Seed-OSS: the tags of Qwen3-Coder in a block of its own, with values as they stand.

<seed:tool_call>
<function=f>
<parameter=key>value</parameter>
</function>
</seed:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.tagged import Spelling, Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call

GRAMMAR = TaggedGrammar(
    call=Tag("<function=", "</function>"),
    argument=Tag("<parameter=", "</parameter>"),
    close="</seed:tool_call>",
    spelling=Spelling(after_call="\n"),
)
LAYOUT = CallLayout(
    start="<seed:tool_call>\n",
    between="</seed:tool_call>\n<seed:tool_call>\n",
    end="</seed:tool_call>",
    call=tagged_call(GRAMMAR),
)
TOOL = ToolDialect("seed_oss", ("<seed:tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = ReasoningDialect("seed_oss", ("<seed:think>",), ("</seed:think>",))
