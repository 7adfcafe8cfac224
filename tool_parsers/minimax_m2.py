"""MiniMax-M2, 2.1 and 2.5.

<minimax:tool_call>
<invoke name="f">
<parameter name="key">value</parameter>
</invoke>
</minimax:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Spelling, Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call

GRAMMAR = TaggedGrammar(
    call=Tag("<invoke ", "</invoke>"),
    argument=Tag("<parameter ", "</parameter>"),
    close="</minimax:tool_call>",
    spelling=Spelling(attributes=True, after_call="\n"),
)
LAYOUT = CallLayout("<minimax:tool_call>\n", "", "</minimax:tool_call>", tagged_call(GRAMMAR))
TOOL = ToolDialect("minimax_m2", ("<minimax:tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("minimax_m2")
