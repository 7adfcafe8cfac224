"""Seed-OSS: the tags of Qwen3-Coder in a block of its own, with values as they stand.

<seed:tool_call>
<function=f>
<parameter=key>value</parameter>
</function>
</seed:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("<function=", "</function>"),
    argument=Tag("<parameter=", "</parameter>"),
    close="</seed:tool_call>",
)
LAYOUT = CallLayout(
    start="<seed:tool_call>\n<function=",
    between="\n</seed:tool_call>\n<seed:tool_call>\n<function=",
    end="\n</seed:tool_call>",
    call=tagged_call(
        name_end=">\n",
        key_start="<parameter=",
        key_end=">",
        value_end="</parameter>\n",
        call_end="</function>",
    ),
)
TOOL = ToolDialect("seed_oss", ("<seed:tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = ReasoningDialect("seed_oss", ("<seed:think>",), ("</seed:think>",))
