"""Standard input and output of a token worker, kept for its lines: some libraries print there, and
one waits for a key after an error."""

from __future__ import annotations

import os
from typing import TextIO


def take_stdout() -> TextIO:
    """What was standard output; from now on, what is printed goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)  # a line is sent when it ends
    os.dup2(2, 1)
    return lines


def take_stdin() -> TextIO:
    """What was standard input, which is at its end from now on."""
    lines = os.fdopen(os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lines
