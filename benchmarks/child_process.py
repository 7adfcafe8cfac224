"""Ends programs that were started."""

from __future__ import annotations

import signal
import subprocess


def end(process: subprocess.Popen[bytes], *, patience: float) -> int:
    """As an operator would, or by force after `patience` seconds; returns the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode
