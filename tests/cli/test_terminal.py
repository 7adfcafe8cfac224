"""Reading from a real terminal (a pseudo terminal) while an answer runs."""

from __future__ import annotations

import os
import pty

from ftllm.cli.terminal import Terminal


def test_lines_typed_early_are_seen_at_once_and_can_be_kept() -> None:
    keyboard, screen = pty.openpty()
    with os.fdopen(keyboard, "wb", buffering=0) as keys, os.fdopen(screen, "r") as stdin:
        terminal = Terminal(stdin)
        assert terminal.typed() == []
        keys.write(b"/stop\n")
        assert terminal.typed() == ["/stop"]
        keys.write("é\n".encode())
        terminal.keep(terminal.typed())
        assert terminal.read_line(">>> ") == "é"
