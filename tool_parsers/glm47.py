"""GLM-4.7 and 5: the tags of GLM-4.5 without newlines between them."""

from __future__ import annotations

from dataclasses import replace

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.glm45 import GRAMMAR
from ftllm.tool_parsers.tagged import Spelling
from ftllm.tool_parsers.tagged_schema import tagged_call

_CALL = tagged_call(replace(GRAMMAR, spelling=Spelling(newline="")))
LAYOUT = CallLayout("<tool_call>", "<tool_call>", "", _CALL)
TOOL = ToolDialect("glm47", ("<tool_call>",), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("glm47")
