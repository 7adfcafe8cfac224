"""Hermes 2 and 3, Qwen2.5, Qwen3: `<tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect("hermes", ("<tool_call>",), json_block("</tool_call>"))
