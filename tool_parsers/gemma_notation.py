"""Gemma's notation of calls: `call:f{city:<|"|>Paris<|"|>,days:3,tags:[<|"|>a<|"|>]}`.

Keys stand bare, strings between two quote tokens that nothing escapes, everything else is a number,
a constant, an object or an array. It becomes JSON while it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ParseCalls
from ftllm.tool_parsers.json_value import escaped, json_string, json_value
from ftllm.tool_parsers.source import Markers, Parse, Source

_CLOSERS = {"{": "}", "[": "]"}
_FUNCTION = re.compile(r"[\w.\-]+")
_KEY = re.compile(r"[^:,{}\[\]]+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_CONSTANTS = {"null": "null", "none": "null", "true": "true", "false": "false"}


class _Arguments:
    """Writes the object whose brace stands at the cursor as JSON text."""

    def __init__(
        self, source: Source, write: Callable[[str], None], quote: str, close: str
    ) -> None:
        self._source = source
        self._write = write
        self._quote = quote
        self._close = close
        self._quotes = Markers((quote,))
        self._word_ends = Markers((",", "}", "]", close))
        self._marks = (quote, close, *'{}[],:"')
        self._open: list[str] = []  # the closers of what is open
        self._lead = ""  # what has to stand in front of the next member
        self._key: str | None = None  # of an object's member whose value comes next

    def parse(self) -> Parse[bool]:
        """Whether it was whole. What the model left open is closed, unless it was cut off."""
        source = self._source
        source.pos += 1
        self._push("{")
        while self._open:
            yield from source.space(None)
            mark = yield from source.literal(*self._marks)
            if mark == self._close or (not mark and source.exhausted):
                break
            if mark in ("}", "]"):
                self._end_member()
                self._write(self._open.pop())
                self._lead = ", "
            elif mark == ",":
                self._end_member()
            elif mark != ":" and not (yield from self._part(mark)):
                break
        if self._open and not source.cut:
            self._end_member()
            self._write("".join(reversed(self._open)))
            self._open = []
        return not self._open

    def _part(self, mark: str) -> Parse[bool]:
        """A key, a value, or the opening bracket of one; False if the text ended in it."""
        if self._open[-1] == "}" and self._key is None:
            self._key = yield from self._key_text(mark)
            return bool(self._key)
        if mark in _CLOSERS:
            self._begin_member()
            self._push(mark)
            return True
        if mark == self._quote:
            return (yield from self._string())
        if mark:  # JSON's quote, a slip
            self._source.pos -= 1
            self._begin_member()
            return (yield from json_value(self._source, self._write))
        return (yield from self._word())

    def _push(self, bracket: str) -> None:
        self._write(bracket)
        self._open.append(_CLOSERS[bracket])
        self._lead = ""

    def _begin_member(self) -> None:
        key = "" if self._key is None else f'"{escaped(self._key)}": '
        self._write(self._lead + key)
        self._lead = ", "
        self._key = None

    def _end_member(self) -> None:
        """A key without a value gets null."""
        if self._key is not None:
            self._begin_member()
            self._write("null")

    def _key_text(self, mark: str) -> Parse[str]:
        if mark == self._quote:
            parts: list[str] = []
            yield from self._source.until(self._quotes, parts.append)
            yield from self._source.literal(self._quote)
            return "".join(parts)
        if mark == '"':
            self._source.pos -= 1
            return (yield from json_string(self._source)) or ""
        return (yield from self._source.run(_KEY)).rstrip()

    def _string(self) -> Parse[bool]:
        self._begin_member()
        self._write('"')
        whole = yield from self._source.until(self._quotes, lambda text: self._write(escaped(text)))
        self._source.pos += len(whole)
        if whole or not self._source.cut:
            self._write('"')
        return bool(whole)

    def _word(self) -> Parse[bool]:
        """A number, a constant, or text that the model forgot to quote."""
        parts: list[str] = []
        end = yield from self._source.until(self._word_ends, parts.append)
        if not end and self._source.cut:
            return False
        word = "".join(parts).strip()
        constant = _CONSTANTS.get(word.lower())
        self._begin_member()
        if constant is None:
            constant = word if _NUMBER.fullmatch(word) else json.dumps(word, ensure_ascii=False)
        self._write(constant)
        return bool(end)


def gemma_call(quote: str, close: str) -> ParseCalls:
    """`call:name{…}` behind an opening, its strings between two of `quote`, then `close`."""

    def parse(source: Source, calls: CallWriter, opening: str) -> Parse[bool]:
        yield from source.space(None)
        if not (yield from source.literal("call:")):
            return False
        yield from source.space(None)
        name = yield from source.run(_FUNCTION)
        if not name or (yield from source.next_visible()) != "{":
            return False
        calls.open(name)
        if (yield from _Arguments(source, calls.write, quote, close).parse()):
            calls.close()
            yield from source.space(None)
            yield from source.literal(close)
        return True

    return parse
