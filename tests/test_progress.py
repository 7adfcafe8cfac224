"""Progress bars, drawn into a string."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ftllm.progress import RichProgress, SilentProgress


def drawn(total: int, unit: str, steps: list[int]) -> str:
    out = io.StringIO()
    progress = RichProgress(Console(file=out, force_terminal=True, width=120, no_color=True))
    with progress.task("work [1]", total, unit) as task, progress.task("other", 1, "files") as two:
        for step in steps:
            task.advance(step)
        two.advance(1)
    return out.getvalue()


@pytest.mark.parametrize(
    ("total", "unit", "steps", "shown"),
    [
        (3, "tensors", [1, 1], "2/3 tensors"),
        (0, "tensors", [1, 4], "5 tensors"),
        (105_000_000, "B", [500_000, 52_000_000], "52.5/105.0 MB"),
        (2_500_000_000, "B", [2_500_000_000], "2.5/2.5 GB"),
        (0, "B", [999], "999.0 B"),
        (1500, "B", [300], "0.3/1.5 kB"),
    ],
)
def test_amounts(total: int, unit: str, steps: list[int], shown: str) -> None:
    output = drawn(total, unit, steps)
    assert shown in output
    assert "work [1]" in output
    assert "1/1 files" in output


def test_a_display_can_be_used_again_after_its_last_bar() -> None:
    out = io.StringIO()
    progress = RichProgress(Console(file=out, width=120))
    for label in ("first", "second"):
        with progress.task(label, 1, "files") as task:
            task.advance(1)
    assert "first" in out.getvalue()
    assert "second" in out.getvalue()


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with SilentProgress().task("work", 3, "tensors") as task:
        task.advance(3)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
