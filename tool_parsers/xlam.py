"""xLAM-2: an array of calls as the message, in a fence or behind the marks of other dialects."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import UNMARKED, json_block, json_call_array
from ftllm.tool_parsers.source import Parse, Source

_FENCE = "```json"
_marked = json_block("</tool_call>")


def _parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
    if marker not in ("[", _FENCE):
        return (yield from _marked(source, calls, marker))
    if marker == _FENCE:
        source.pos += len(_FENCE)
    if (yield from source.next_visible()) != "[":
        return False
    if not (yield from json_call_array(source, calls, UNMARKED)):
        return False
    if marker == _FENCE:
        yield from source.space(None)
        yield from source.closer("```")
    return True


TOOL = ToolDialect(
    "xlam",
    ("<tool_call>", "[TOOL_CALLS]"),
    _parse,
    CallLayout("[", ", ", "]", json_object()),
    bare=("[", _FENCE),
)
