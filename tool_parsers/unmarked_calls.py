"""Answers that are calls in JSON and nothing else, without the marker that should begin them.

Small models forget it, and write `{"name": …, "arguments": {…}}` bare or in a fence. Such text may
as well be content that only looks like a call: so it is one only if it names one of the request's
tools, if its object has no other keys, and if nothing but such calls stands in the answer.
"""

from __future__ import annotations

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.json_calls import CallShape, json_call
from ftllm.tool_parsers.source import Parse, Source

_FENCES = ("```json", "```")
# A tool that is described has parameters, too, but no arguments.
_SHAPE = CallShape(strict=True, whole=True, argument_keys=frozenset({"arguments"}))


def json_answer(source: Source, calls: CallWriter) -> Parse[bool]:
    """Call objects from the cursor to an end that the model chose; False as soon as it is none."""
    while True:
        fence = yield from source.literal(*_FENCES)
        if (yield from source.next_visible()) != "{":
            return False
        while (yield from source.peek()) == "{":
            if not (yield from json_call(source, calls, _SHAPE)):
                return False
            yield from source.space(None)
        if fence and not (yield from source.literal("```")) and not source.exhausted:
            return False
        if not (yield from source.next_visible()):
            return not source.cut
