"""Granite 4: as hermes."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "granite4",
    ("<tool_call>",),
    json_block("</tool_call>"),
    CallLayout("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", json_object()),
)
