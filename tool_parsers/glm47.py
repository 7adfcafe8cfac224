"""GLM-4.7 and 5: the tags of GLM-4.5 without newlines between them."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.glm45 import GRAMMAR

TOOL = ToolDialect("glm47", ("<tool_call>",), GRAMMAR.parse)
REASONING = think_tags("glm47")
