"""Runs Python that a model wrote, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_CODE = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)
_FUNCTION = re.compile(r"^def (\w+)\(", re.MULTILINE)
RUN_SECONDS = 20


def evaluate(expression: str, answer: str, *, folder: Path) -> str:
    """The repr of a Python expression in which `f` is the first function that `answer` defines in
    its first code block."""
    block = _CODE.search(answer)
    assert block is not None, f"no code block in {answer!r}"
    function = _FUNCTION.search(block[1])
    assert function is not None, f"no function in {block[1]!r}"
    script = folder / "generated.py"
    script.write_text(f"{block[1]}\nf = {function[1]}\nprint(repr({expression}))\n")
    run = subprocess.run(
        [sys.executable, "-I", str(script)],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        cwd=folder,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]
