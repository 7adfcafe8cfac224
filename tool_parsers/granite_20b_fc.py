"""Granite-20B-functioncalling: `<function_call> {…} <function_call> {…}`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "granite-20b-fc",
    ("<function_call>",),
    json_block("</function_call>"),
    CallLayout("<function_call> ", " <function_call> ", "", json_object()),
)
