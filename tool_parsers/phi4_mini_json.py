"""Phi-4-mini: `functools[{"name": …, "arguments": {…}}]`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_call_array
from ftllm.tool_parsers.source import Parse, Source


def _parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
    source.pos -= 1  # the bracket belongs to the array
    return (yield from json_call_array(source, calls))


TOOL = ToolDialect(
    "phi4_mini_json", ("functools[",), _parse, CallLayout("functools[", ", ", "]", json_object())
)
