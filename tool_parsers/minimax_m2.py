"""MiniMax-M2, 2.1 and 2.5.

<minimax:tool_call>
<invoke name="f">
<parameter name="key">value</parameter>
</invoke>
</minimax:tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("<invoke ", "</invoke>"),
    argument=Tag("<parameter ", "</parameter>"),
    close="</minimax:tool_call>",
)
TOOL = ToolDialect("minimax_m2", ("<minimax:tool_call>",), GRAMMAR.parse)
REASONING = think_tags("minimax_m2")
