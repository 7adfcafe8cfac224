"""GLM-4.7 and 5: the tags of GLM-4.5 without newlines between them."""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.glm45 import GRAMMAR

LAYOUT = CallLayout(
    start="<tool_call>",
    between="</tool_call><tool_call>",
    end="</tool_call>",
    call=tagged_call(
        name_end="",
        key_start="<arg_key>",
        key_end="</arg_key><arg_value>",
        value_end="</arg_value>",
        call_end="",
    ),
)
TOOL = ToolDialect("glm47", ("<tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("glm47")
