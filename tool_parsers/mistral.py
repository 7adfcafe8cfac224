"""Mistral: a JSON array behind `[TOOL_CALLS]` up to v7, a name and its arguments since v11."""

from __future__ import annotations

import re

from ftllm.tool_parsers.call_ids import alphanumeric_id
from ftllm.tool_parsers.call_layout import CallLayout, headed, json_object
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect
from ftllm.tool_parsers.json_calls import CallShape, json_arguments, json_calls
from ftllm.tool_parsers.source import Parse, Source

_OPENING = "[TOOL_CALLS]"
_ID_MARK = "[CALL_ID]"
_ARGUMENTS_MARK = "[ARGS]"
_NAME = re.compile(r"[\w.:/-]+")
_ID = re.compile(r"[A-Za-z0-9]+")
_ID_LENGTH = 9
_OBJECT = CallShape(native_ids=True)


def _parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
    if (yield from source.next_visible()) in ("{", "["):
        return (yield from json_calls(source, calls, _OBJECT))
    name = yield from source.run(_NAME)
    call_id = None
    mark = yield from source.closer(_ID_MARK, _ARGUMENTS_MARK)
    if mark == _ID_MARK:
        yield from source.space(None)
        call_id = yield from source.run(_ID)
        mark = yield from source.closer(_ARGUMENTS_MARK)
    if not name or not (mark or (yield from source.peek()) == "{"):
        return False
    calls.open(name, call_id if call_id and len(call_id) == _ID_LENGTH else None)
    yield from json_arguments(source, calls)
    return True


TOOL = ToolDialect(
    "mistral",
    (_OPENING,),
    _parse,
    CallLayout(_OPENING, _OPENING, "", headed("", _ARGUMENTS_MARK)),
    new_id=alphanumeric_id,
    older=(_ARGUMENTS_MARK, CallLayout(f"{_OPENING} [", ", ", "]", json_object())),
)
REASONING = ReasoningDialect("mistral", ("[THINK]", "<think>"), ("[/THINK]", "</think>"))
