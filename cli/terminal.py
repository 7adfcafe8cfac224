"""Reads lines from the terminal, also those typed while an answer is running."""

from __future__ import annotations

import contextlib
import os
import select
from collections import deque
from typing import Protocol, TextIO

CONTINUED = "\\"  # a line that ends with it goes on in the next one
BLOCK = '"""'  # opens and closes a text of several lines
CHUNK = 65536  # bytes; a terminal gives one line at a time


class LineSource(Protocol):
    def read_line(self, prompt: str) -> str:
        """The next line without its end. Raises `EOFError` at the end of the input."""

    def typed(self) -> list[str]:
        """Lines that have arrived meanwhile; never waits."""


class Terminal:
    """Lines of an interactive `stdin`, with the editing keys and history of readline."""

    def __init__(self, stdin: TextIO) -> None:
        with contextlib.suppress(ImportError):  # a Python without it: plain lines
            import readline  # noqa: F401  (its import is what gives input() its keys)
        self._stdin = stdin
        self._early: deque[str] = deque()

    def read_line(self, prompt: str) -> str:
        if self._early:
            return self._early.popleft()
        return input(prompt)

    def typed(self) -> list[str]:
        descriptor = self._stdin.fileno()
        if not select.select([descriptor], [], [], 0)[0]:
            return []
        # Not through the buffered file: input() would not see what that has read ahead.
        return os.read(descriptor, CHUNK).decode("utf-8", "replace").splitlines()

    def keep(self, lines: list[str]) -> None:
        """Puts lines that were typed early in front of what comes next."""
        self._early.extend(lines)


def read_message(source: LineSource, *, prompt: str, more: str) -> str:
    '''One message: a line, lines that each end with a backslash, or a block between """.

    Raises `EOFError` when the input ends before the message begins.
    '''
    line = source.read_line(prompt)
    if line.lstrip().startswith(BLOCK):
        return _read_block(source, line.lstrip().removeprefix(BLOCK), more)
    lines = []
    while line.endswith(CONTINUED):
        lines.append(line.removesuffix(CONTINUED))
        line = _next_line(source, more)
    return "\n".join([*lines, line])


def _read_block(source: LineSource, line: str, more: str) -> str:
    lines = []
    while not line.rstrip().endswith(BLOCK):
        lines.append(line)
        try:
            line = source.read_line(more)
        except EOFError:
            line = BLOCK
    lines.append(line.rstrip().removesuffix(BLOCK))
    return "\n".join(lines).strip("\n")


def _next_line(source: LineSource, prompt: str) -> str:
    try:
        return source.read_line(prompt)
    except EOFError:
        return ""
