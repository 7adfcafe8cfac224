"""Content or reasoning on its way out, without the white space that frames markers."""

from __future__ import annotations

from collections.abc import Callable

_NEWLINES = "\r\n"


class TextChannel:
    """Passes text to `write`, and holds back white space at its end until more text comes.

    With `trim` the newlines in front of the first text are dropped.
    """

    __slots__ = ("_held", "_write", "any", "line_start", "trim")

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._held = ""
        self.any = False  # visible text has been passed on
        self.trim = False
        self.line_start = True  # nothing but white space since the last newline

    def write(self, text: str) -> None:
        if not text[-1].isspace():
            visible, space = text, ""
        else:
            visible = text.rstrip()
            space = text[len(visible) :]
        if visible:
            if self._held:
                visible, self._held = self._held + visible, ""
            if self.trim:
                visible = _without_first_newlines(visible)
                self.trim = False
            self._write(visible)
            self.any = True
            self.line_start = False
        if space:
            self._held += space
            if "\n" in space:
                self.line_start = True

    def drop_space(self) -> None:
        """What was held back framed a marker."""
        self._held = ""

    def end(self) -> None:
        """No more text comes; white space alone is no text."""
        if self._held and self.any:
            self._write(self._held)
        self._held = ""


def _without_first_newlines(text: str) -> str:
    """Without white space at the beginning, but for the indentation of the first line."""
    visible = text.lstrip()
    space = text[: len(text) - len(visible)]
    cut = max(space.rfind(each) for each in _NEWLINES) + 1
    return space[cut:] + visible if cut else visible
