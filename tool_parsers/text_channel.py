"""Content or reasoning on its way out, without the white space that frames markers."""

from __future__ import annotations

import enum
from collections.abc import Callable

_NEWLINES = "\r\n"


class Trim(enum.Enum):
    """What is dropped in front of the first text. The indentation of its line never is."""

    NOTHING = enum.auto()
    NEWLINES = enum.auto()
    SPACE = enum.auto()  # spaces as well, if the text goes on in the line


class TextChannel:
    """Passes text to `write`, and holds back white space at its end until more text comes."""

    __slots__ = ("_held", "_write", "any", "is_after_call", "line_start", "trim")

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._held = ""
        self.any = False  # visible text has been passed on
        self.is_after_call = False  # and a call has come since
        self.trim = Trim.NOTHING
        self.line_start = True  # nothing but white space since the last newline, or a call

    def write(self, text: str) -> None:
        if not text[-1].isspace():
            visible, space = text, ""
        else:
            visible = text.rstrip()
            space = text[len(visible) :]
        if visible:
            if self._held:
                visible, self._held = self._held + visible, ""
            if self.trim is not Trim.NOTHING:
                visible = _trimmed(visible, self.trim)
                self.trim = Trim.NOTHING
            self._write(visible)
            self.any = True
            self.is_after_call = self.line_start = False
        if space:
            self._held += space
            if "\n" in space:
                self.line_start = True

    def drop_space(self) -> None:
        """What was held back framed a marker."""
        self._held = ""

    def begin_after_call(self) -> None:
        """A call stands here."""
        self._held = ""
        self.is_after_call = self.line_start = True
        if not self.any:
            self.trim = Trim.NEWLINES

    def end(self) -> None:
        """No more text comes; white space alone is no text, nor is it behind a call."""
        if self._held and self.any and not self.is_after_call:
            self._write(self._held)
        self._held = ""


def _trimmed(text: str, trim: Trim) -> str:
    visible = text.lstrip()
    space = text[: len(text) - len(visible)]
    cut = max(space.rfind(each) for each in _NEWLINES) + 1
    if cut or trim is Trim.NEWLINES:
        return space[cut:] + visible
    return visible
