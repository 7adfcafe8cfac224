"""MiniMax-M2, 2.1 and 2.5.

<minimax:tool_call>
<invoke name="f">
<parameter name="key">value</parameter>
</invoke>
</minimax:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("<invoke ", "</invoke>"),
    argument=Tag("<parameter ", "</parameter>"),
    close="</minimax:tool_call>",
)
LAYOUT = CallLayout(
    start='<minimax:tool_call>\n<invoke name="',
    between='\n<invoke name="',
    end="\n</minimax:tool_call>",
    call=tagged_call(
        name_end='">\n',
        key_start='<parameter name="',
        key_end='">',
        value_end="</parameter>\n",
        call_end="</invoke>",
    ),
)
TOOL = ToolDialect("minimax_m2", ("<minimax:tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("minimax_m2")
