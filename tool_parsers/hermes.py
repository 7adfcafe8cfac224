"""Hermes 2 and 3, Qwen2.5, Qwen3: `<tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>`.

Qwen2.5-Coder often leaves the tags out, and puts the object into a fence.
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block
from ftllm.tool_parsers.unmarked_calls import json_answer

TOOL = ToolDialect(
    "hermes",
    ("<tool_call>",),
    json_block("</tool_call>"),
    CallLayout("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", json_object()),
    unmarked=json_answer,
)
