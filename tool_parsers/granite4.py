"""Granite 4: as hermes."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect("granite4", ("<tool_call>",), json_block("</tool_call>"))
