"""Llama 3.1 to 3.3: `[<|python_tag|>]{"name": …, "parameters": {…}}`, several with `; ` between.

Without the tag only an object counts that names one of the request's tools.
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import MARKED, UNMARKED, json_call
from ftllm.tool_parsers.source import Parse, Source

_TAG = "<|python_tag|>"


def _parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
    shape = UNMARKED
    if marker == _TAG:
        shape = MARKED
        yield from source.space(None)
    while (yield from source.peek()) == "{":
        if not (yield from json_call(source, calls, shape)):
            return False
        if not (yield from source.literal("; ", ";\n", ";")):
            return True
        yield from source.literal(_TAG)
        yield from source.space(None)
        source.mark(source.pos)
    return False


TOOL = ToolDialect(
    "llama3_json",
    (_TAG,),
    _parse,
    CallLayout("", "; ", "", json_object(arguments_key="parameters")),
    bare=("{",),
)
