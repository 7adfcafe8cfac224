"""Calls written as Python: `[f(a=1, b='x'), g()]`. Literals become JSON while they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.json_value import escaped
from ftllm.tool_parsers.schema_types import loose_number, property_names
from ftllm.tool_parsers.source import Parse, Source

Write = Callable[[str], None]

_NAME = re.compile(r"[\w.-]+")
_WORD = re.compile(r"[^\s,:=()\[\]{}'\"]+")
_PREFIX = re.compile(r"[rRbBuUfF]{1,2}")
_RUN = re.compile(r"[^'\"\\]+")
_ESCAPE = re.compile(
    r"\\(?:\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[^0-7xuU\n])"
)
_CUT_ESCAPE = re.compile(r"\\(?:[0-7]{0,2}|x[0-9a-fA-F]?|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7})\Z")
_SIMPLE_ESCAPES = {
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\n": "",
    "/": "/",  # JSON's
}
_CONSTANTS = {"true": "true", "false": "false", "none": "null", "null": "null"}
_CLOSERS = {"[": "]", "(": "]", "{": "}"}
_AFTER_STRING = (",", ")", "]", "}", ":", "'", '"')
_SURROGATES = range(0xD800, 0xE000)
_OTHER_BASE = re.compile(r"0[xX][0-9a-fA-F]{1,64}|0[oO][0-7]{1,64}|0[bB][01]{1,64}")
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class PythonCalls:
    """A list of calls up to `close`; the brackets around it may be missing where `close` is not."""

    close: str = ""

    def parse(self, source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        """A `ParseCalls`; the opening is a marker, or the bracket in front of which it stands."""
        bare = marker == "["
        yield from source.space(None)
        bracket = yield from source.literal("[")
        found = False
        while True:
            while (yield from source.next_visible()) in (",", ";"):
                source.pos += 1
            if found:
                source.mark(source.pos)
            name = yield from source.run(_NAME)
            if not name:
                break
            yield from source.space(None)
            known = name in calls.tools or found or not bare
            if not known or not (yield from source.literal("(")):
                return False
            calls.open(name)
            if (yield from _Arguments(source, calls, name).parse()) or not source.cut:
                calls.close()
            found = True
        if bracket:
            yield from source.literal("]")
        yield from self._end(source)
        return found

    def _end(self, source: Source) -> Parse[None]:
        if self.close:
            yield from source.space(None)
            yield from source.closer(self.close)


class _Arguments:
    """Arguments of a call up to its closing parenthesis, written as an object."""

    def __init__(self, source: Source, calls: CallWriter, name: str) -> None:
        self.source = source
        self.calls = calls
        self.names = property_names(calls.tools.parameters(name))
        self.count = 0

    def parse(self) -> Parse[bool]:
        """False if the text ended, or went astray, before the parenthesis."""
        source = self.source
        while True:
            character = yield from source.next_visible()
            if character == ")":
                source.pos += 1
                break
            if character == ",":
                source.pos += 1
                continue
            if not character or character in "]}:=":
                break
            if not (yield from self._argument()):
                break
        whole = character == ")"
        if self.count and (whole or not source.cut):
            self.calls.write("}")
        return whole

    def _argument(self) -> Parse[bool]:
        source = self.source
        word = yield from source.run(_WORD)
        key = self.names[self.count] if self.count < len(self.names) else f"arg{self.count}"
        if word and (yield from source.next_visible()) == "=":
            source.pos += 1
            key, word = word, ""
        if source.exhausted and source.cut:
            return False
        self.calls.write(f'{", " if self.count else "{"}"{escaped(key)}": ')
        self.count += 1
        return (yield from python_value(source, self.calls.write, word))


def python_value(source: Source, write: Write, word: str = "") -> Parse[bool]:
    """Write the literal at the cursor as JSON; False if the text ended in it. `word` is the
    beginning of it that has been read."""
    return (yield from _Value(source, write).parse(word))


class _Value:
    """One literal with all that is inside it."""

    def __init__(self, source: Source, write: Write) -> None:
        self._source = source
        self._write = write
        self._open: list[str] = []  # the closers, in JSON, of what is open
        self._after_item = False  # in what is open, so the next one needs a comma
        self._after_colon = False

    def parse(self, word: str) -> Parse[bool]:
        source = self._source
        whole = yield from self._item(word)
        while whole and self._open:
            character = yield from source.next_visible()
            if character == ",":
                source.pos += 1
            elif character == ":":
                source.pos += 1
                self._write(": ")
                self._after_colon = True
            elif character and character in ")]}":
                source.pos += 1
                self._write(self._open.pop())
                self._after_item = True
            else:
                whole = bool(character) and (yield from self._item(""))
        if not whole and not source.cut:
            if self._after_colon:
                self._write("null")
            self._write("".join(reversed(self._open)))
        return whole

    def _item(self, word: str) -> Parse[bool]:
        """A string, a constant or a bracket that opens."""
        source = self._source
        character = ""
        if not word:
            character = yield from source.next_visible()
            if character and character in _CLOSERS:
                self._begin()
                source.pos += 1
                self._write("{" if character == "{" else "[")
                self._open.append(_CLOSERS[character])
                self._after_item = False
                return True
            word = yield from source.run(_WORD)
        character = yield from source.peek()
        if character and character in "'\"" and (not word or _PREFIX.fullmatch(word)):
            return (yield from self._string(raw="r" in word.lower()))
        if not word and character:
            source.pos += character not in ")]}"  # nothing that a literal begins with
        if source.exhausted and source.cut:
            return False
        is_key = self._begin()
        self._write(_constant(word, is_key=is_key) if word else "null")
        return True

    def _begin(self) -> bool:
        """What comes before an item; whether that is a key."""
        is_key = self._open[-1:] == ["}"] and not self._after_colon
        if self._after_item and not self._after_colon:
            self._write(", ")
        self._after_item = True
        self._after_colon = False
        return is_key

    def _string(self, *, raw: bool) -> Parse[bool]:
        """The string whose quote stands at the cursor, and those right behind it."""
        source = self._source
        self._begin()
        self._write('"')
        while True:
            quote = source.text[source.pos]
            end = yield from source.literal(quote * 3, quote * 2, quote)
            whole = len(end) == 2 or (yield from self._characters(end, raw=raw))
            if not whole or (yield from source.next_visible()) not in ("'", '"'):
                break
        if whole or not source.cut:
            self._write('"')
        return whole

    def _characters(self, end: str, *, raw: bool) -> Parse[bool]:
        """The inside of a string up to its `end`."""
        source = self._source
        while True:
            text, pos = source.text, source.pos
            match = _RUN.match(text, pos)
            if match is not None:
                self._write(escaped(match[0]))
                pos = source.pos = match.end()
            if pos == len(text):
                if source.ended:
                    return False
                yield
            elif text[pos] == "\\":
                if raw:
                    self._write("\\\\")
                    source.pos += 1
                    yield from self._plain_character()
                else:
                    yield from self._escape()
            elif (yield from self._ends(end)):
                source.pos += len(end)
                return True
            else:
                yield from self._plain_character()

    def _ends(self, end: str) -> Parse[bool]:
        source = self._source
        if len(end) == 1:  # an apostrophe that the model forgot to escape ends nothing
            if source.text[source.pos] != end:
                return False
            return (yield from source.is_followed(1, _AFTER_STRING))
        while source.text[source.pos :] in (end[:1], end[:2]) and not source.ended:
            yield
        return source.text.startswith(end, source.pos)

    def _plain_character(self) -> Parse[None]:
        character = yield from self._source.peek()
        self._write(escaped(character))
        self._source.pos += len(character)

    def _escape(self) -> Parse[None]:
        source = self._source
        while _CUT_ESCAPE.match(source.text, source.pos) and not source.ended:
            yield
        match = _ESCAPE.match(source.text, source.pos)
        if match is None:
            self._write("\\\\")
            source.pos += 1
        else:
            self._write(_decoded(match[0]))
            source.pos = match.end()


def _decoded(escape: str) -> str:
    """What an escape stands for, as it stands in a JSON string."""
    kind, digits = escape[1], escape[2:]
    if kind in "01234567":
        return escaped(chr(int(escape[1:], 8)))
    if kind in "xuU" and digits:
        code = int(digits, 16)
        if code in _SURROGATES:  # half of a pair, which JSON knows
            return f"\\u{code:04x}"
        return escaped(chr(code) if code <= _LAST_CODE_POINT else "\ufffd")
    return escaped(_SIMPLE_ESCAPES.get(kind, escape))


def _constant(word: str, *, is_key: bool) -> str:
    constant = _CONSTANTS.get(word.lower()) or loose_number(word.replace("_", ""))
    if constant is None and _OTHER_BASE.fullmatch(word):
        constant = str(int(word, 0))
    if constant is None or is_key:
        return json.dumps(constant or word, ensure_ascii=False)
    return constant
