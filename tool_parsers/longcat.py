"""LongCat-Flash: as hermes, in tags of its own."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

TOOL = ToolDialect(
    "longcat",
    ("<longcat_tool_call>",),
    json_block("</longcat_tool_call>"),
    CallLayout(
        "<longcat_tool_call>\n",
        "\n</longcat_tool_call>\n<longcat_tool_call>\n",
        "\n</longcat_tool_call>",
        json_object(),
    ),
)
