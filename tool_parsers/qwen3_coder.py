"""Qwen3-Coder, Qwen3.5 and later, Nemotron-3, MiMo-V2, Granite 4.2.

<tool_call>
<function=f>
<parameter=key>
value
</parameter>
</function>
</tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("<function=", "</function>"),
    argument=Tag("<parameter=", "</parameter>"),
    close="</tool_call>",
    framed=True,
    close_may_miss=True,
)
LAYOUT = CallLayout(
    start="<tool_call>\n<function=",
    between="\n</tool_call>\n<tool_call>\n<function=",
    end="\n</tool_call>",
    call=tagged_call(
        name_end=">\n",
        key_start="<parameter=",
        key_end=">\n",
        value_end="\n</parameter>\n",
        call_end="</function>",
        without=("\n<parameter=", "\n</function>", "\n</tool_call>"),
    ),
)
# The outer tag is sometimes forgotten.
TOOL = ToolDialect("qwen3_coder", ("<tool_call>", "<function="), GRAMMAR.parse, LAYOUT)
