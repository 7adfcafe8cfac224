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

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.tagged import Spelling, Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call

GRAMMAR = TaggedGrammar(
    call=Tag("<function=", "</function>"),
    argument=Tag("<parameter=", "</parameter>"),
    close="</tool_call>",
    framed=True,
    close_may_miss=True,
    spelling=Spelling(after_call="\n"),
)
LAYOUT = CallLayout(
    start="<tool_call>\n",
    between="</tool_call>\n<tool_call>\n",
    end="</tool_call>",
    call=tagged_call(GRAMMAR),
)
# The outer tag is sometimes forgotten.
TOOL = ToolDialect("qwen3_coder", ("<tool_call>", "<function="), GRAMMAR.parse, LAYOUT)
