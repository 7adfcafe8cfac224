"""GLM-4.5 and 4.6. Their template writes strings as they are and other values as JSON.

<tool_call>f
<arg_key>key</arg_key>
<arg_value>value</arg_value>
</tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call

GRAMMAR = TaggedGrammar(
    call=Tag("", "</tool_call>"),
    argument=Tag("<arg_key>", "</arg_value>", end="</arg_key>"),
    value_start="<arg_value>",
    untyped="json",
)
LAYOUT = CallLayout("<tool_call>", "\n<tool_call>", "", tagged_call(GRAMMAR))
TOOL = ToolDialect("glm45", ("<tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("glm45")
