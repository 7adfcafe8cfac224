"""A JSON value while it comes: where it ends, and text that is valid JSON.

What a model writes is passed through letter by letter, so numbers, escapes, spaces and the order of
keys stay as they are. Slips that have one reading are mended on the way: raw control characters
in strings, escapes that JSON lacks, single quotes, a comma before a bracket that closes, Python's
True, False and None; NaN and infinities become null. Other text that is not JSON is passed through
as it is, with brackets counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ftllm.tool_parsers.source import Parse, Source

Write = Callable[[str], None]

_ESCAPE = r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_RUNS = {
    '"': re.compile(rf'(?:[^"\\\x00-\x1f]|{_ESCAPE})+'),
    "'": re.compile(rf"(?:[^'\"\\\x00-\x1f]|{_ESCAPE})+"),
}
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_FILLER = re.compile(r"[\s:]+")
_WORD = re.compile(r"[^\s:,\"'{}\[\]]+")
_WORDS = {
    "True": "true",
    "False": "false",
    "None": "null",
    "NaN": "null",
    "nan": "null",
    "Infinity": "null",
    "-Infinity": "null",
    "inf": "null",
    "-inf": "null",
}
_WHOLE_WORD = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_CLOSERS = {"{": "}", "[": "]"}
_encode = json.JSONEncoder(ensure_ascii=False).encode


class JsonPassage:
    """Passes one JSON value from `feed` to `write`, and knows when it is `done`."""

    __slots__ = ("_comma", "_key", "_last", "_open", "_out", "_quote", "_word", "_write", "done")

    def __init__(self, write: Write) -> None:
        self.done = False
        self._write = write
        self._out: list[str] = []
        self._open: list[str] = []
        self._quote = ""  # of the string that the text is in
        self._key = False  # that string is, or the last one was, a key without its colon
        self._word: list[str] = []  # pieces of a number or literal that may go on
        self._comma = ""  # a comma and the space behind it: a bracket that closes would undo it
        self._last = ""  # the structural character before: one of { [ } ] , : or " for a string

    @property
    def in_string(self) -> bool:
        """The text is inside a string, in double quotes."""
        return self._quote == '"'

    def feed(self, text: str, pos: int) -> int:
        """Read `text` from `pos`; the place where it stopped, before an escape that is cut in two
        or behind the value."""
        size = len(text)
        while pos < size and not self.done:
            before = pos
            pos = self._string(text, pos) if self._quote else self._token(text, pos)
            if pos == before:
                break
        if self._out:
            self._write("".join(self._out))
            self._out = []
        return pos

    def give_up(self) -> None:
        """The text was cut off: hand out what was held back."""
        if self._word:
            self._write(self._comma + "".join(self._word))

    def close(self) -> None:
        """The text ended by itself before the value did: close what is open."""
        if self._quote:
            self._out.append('"')
        elif self._word:
            self._end_word()
            if not _WHOLE_WORD.fullmatch(self._out[-1]):
                self._out[-1] = "null"
        elif self._last == ":":
            self._out.append("null")
        if self._key:
            self._out.append(": null")
        self._out += [_CLOSERS[bracket] for bracket in reversed(self._open)]
        self._write("".join(self._out))
        self.done = True

    def _string(self, text: str, pos: int) -> int:
        run = _RUNS[self._quote].match(text, pos)
        if run is not None:
            self._out.append(run[0])
            pos = run.end()
            if pos == len(text):
                return pos
        character = text[pos]
        if character == self._quote:
            self._out.append('"')
            self._quote = ""
            self._last = '"'
            self.done = not self._open
        elif character == "\\":
            if _CUT_ESCAPE.match(text, pos):
                return pos
            if text.startswith("'", pos + 1):  # Python's, or a habit from single quotes
                self._out.append("'")
                return pos + 2
            self._out.append(r"\\")
        elif character == '"':
            self._out.append(r"\"")
        elif character == "'":
            self._out.append("'")
        else:
            self._out.append(json.dumps(character)[1:-1])
        return pos + 1

    def _token(self, text: str, pos: int) -> int:
        match = _WORD.match(text, pos)
        if match is not None:
            self._word.append(match[0])
            self._key = False
            return match.end()
        if self._word:
            self._end_word()
            if not self._open:
                self.done = True
                return pos
        match = _FILLER.match(text, pos)
        if match is None:
            self._punctuation(text[pos])
            return pos + 1
        if self._comma:
            self._comma += match[0]
        else:
            self._out.append(match[0])
        if ":" in match[0]:
            self._last = ":"
            self._key = False
        return match.end()

    def _punctuation(self, character: str) -> None:
        if character in "}]":
            self._out.append(self._comma[1:])
            self._comma = ""
            if self._open:
                self._open.pop()
            self.done = not self._open
        elif character == ",":
            self._out.append(self._comma)
            self._comma = ","
            self._last = ","
            return
        else:
            self._out.append(self._comma)
            self._comma = ""
            if character in "{[":
                self._open.append(character)
            else:
                self._quote = character
                self._key = self._open[-1:] == ["{"] and self._last in ("{", ",")
                self._out.append('"')
                return
        self._out.append(character)
        self._last = character

    def _end_word(self) -> None:
        self._out.append(self._comma)
        word = "".join(self._word)
        self._out.append(_WORDS.get(word, word))
        self._comma = ""
        self._word = []
        self._last = "w"


def json_value(source: Source, write: Write) -> Parse[bool]:
    """Pass the value at the cursor to `write`; whether it was whole.

    A value that the end of the text cuts short is closed, unless a limit of tokens ended the text.
    """
    passage = JsonPassage(write)
    while True:
        source.pos = passage.feed(source.text, source.pos)
        if passage.done:
            return True
        if source.ended:
            break
        yield
    if source.cut:
        passage.give_up()
    else:
        passage.close()
    source.pos = len(source.text)
    return False


def json_text(source: Source) -> Parse[str | None]:
    """The value at the cursor as JSON text; None if the text ended before it did."""
    parts: list[str] = []
    whole = yield from json_value(source, parts.append)
    return "".join(parts) if whole else None


def json_string(source: Source) -> Parse[str | None]:
    """The string at the cursor, decoded; None if the text ended before it did."""
    text = yield from json_text(source)
    return None if text is None else decoded_string(text)


def decoded_string(text: str) -> str | None:
    """What a JSON string says; None for any other text."""
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def escaped(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return _encode(text)[1:-1]
