"""Where in JSON text that comes in pieces a string is open."""

from __future__ import annotations

import re

_OUTSIDE = re.compile(r'[^"]*')
_INSIDE = re.compile(r'(?:[^"\\]|\\.)*', re.DOTALL)


class JsonStrings:
    """Follows text; in text that begins like no object or array there are no strings."""

    __slots__ = ("_container", "_escape", "_inside", "_started")

    def __init__(self) -> None:
        self._started = False
        self._container = False
        self._inside = False
        self._escape = False  # the text so far ends with the backslash of an escape

    @property
    def inside(self) -> bool:
        """The text so far ends inside a string."""
        return self._inside

    def feed(self, text: str) -> None:
        if not self._started:
            text = text.lstrip()
            if not text:
                return
            self._started = True
            self._container = text[0] in "{["
        pos = 1 if self._escape else 0
        self._escape = False
        while self._container and pos < len(text):
            match = (_INSIDE if self._inside else _OUTSIDE).match(text, pos)
            assert match is not None
            pos = match.end()
            if pos < len(text):
                self._escape = text[pos] == "\\"
                self._inside = self._inside == self._escape
                pos += 1
