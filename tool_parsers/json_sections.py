"""JSON arguments behind a header with the name, one call after the other in a section."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.json_calls import json_arguments
from ftllm.tool_parsers.json_value import json_text
from ftllm.tool_parsers.source import Parse, Source

_HEADER = re.compile(r"[\w.:/-]+")

OpenCall = Callable[[CallWriter, str], bool]
"""Opens the call that a header is about; False if it is about none."""


def open_named(calls: CallWriter, header: str) -> bool:
    """The header is the name."""
    calls.open(header)
    return True


@dataclass(frozen=True, slots=True)
class JsonSections:
    """`call_start` [`prefix`] header `separator` arguments [`suffix`] `call_end`, in a section.

    The marks of the section may be missing, and so may all that ends something.
    """

    start: str
    end: str
    call_start: str
    separator: str
    call_end: str
    prefix: str = ""
    suffix: str = ""
    open_call: OpenCall = open_named

    def parse(self, source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        """A `ParseCalls`; the opening is `start` or `call_start`."""
        found = False
        if marker == self.call_start:
            if not (yield from self._call(source, calls)):
                return False
            found = True
        while True:
            yield from source.space(None)
            mark = yield from source.closer(self.end, self.call_start)
            if source.exhausted or mark != self.call_start:
                return found or mark == self.end
            if found:
                source.mark(source.pos - len(mark))
            if not (yield from self._call(source, calls)):
                return False
            found = True

    def _call(self, source: Source, calls: CallWriter) -> Parse[bool]:
        yield from source.space(None)
        if self.prefix:
            yield from source.literal(self.prefix)
        header = yield from source.run(_HEADER)
        yield from source.space(None)
        if not header or not (yield from source.closer(self.separator)):
            return False
        arguments = ""
        if header.isdigit():  # a counter that stands for an id; the arguments tell the name
            yield from source.space(None)
            arguments = (yield from json_text(source)) or ""
            header = f"functions.{calls.tools.accepting(_keys(arguments)) or ''}:{header}"
        if not self.open_call(calls, header):
            return False
        calls.write(arguments)
        if not (yield from json_arguments(source, calls)):
            return True
        yield from source.space(None)
        if self.suffix and (yield from source.closer(self.suffix)):
            yield from source.space(None)
        yield from source.closer(self.call_end)
        return True


def _keys(arguments: str) -> list[str]:
    try:
        value = json.loads(arguments)
    except ValueError:
        return []
    return list(value) if isinstance(value, dict) else []
