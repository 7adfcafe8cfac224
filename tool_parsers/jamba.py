"""Jamba 1.5: `<tool_calls>[{…}, {…}]</tool_calls>`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "jamba",
    ("<tool_calls>",),
    json_block("</tool_calls>"),
    CallLayout("<tool_calls>[\n    ", ",\n    ", "\n]</tool_calls>", json_object()),
)
