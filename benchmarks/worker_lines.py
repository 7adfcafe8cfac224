"""The standard output of a token worker, kept for its lines: some libraries print there."""

from __future__ import annotations

import os
from typing import TextIO


def take_stdout() -> TextIO:
    """What was standard output; from now on, what is printed goes to standard error."""
    lines = os.fdopen(os.dup(1), "w", buffering=1)  # a line is sent when it ends
    os.dup2(2, 1)
    return lines
