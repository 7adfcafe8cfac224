"""GLM-4.5 and 4.6. Their template writes strings as they are and other values as JSON.

<tool_call>f
<arg_key>key</arg_key>
<arg_value>value</arg_value>
</tool_call>
"""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

GRAMMAR = TaggedGrammar(
    call=Tag("", "</tool_call>"),
    argument=Tag("<arg_key>", "</arg_value>", end="</arg_key>"),
    value_start="<arg_value>",
    untyped="json",
)
TOOL = ToolDialect("glm45", ("<tool_call>",), GRAMMAR.parse)
REASONING = think_tags("glm45")
