from __future__ import annotations

import json
import sys

import pytest
from report import percentile, print_markdown, print_report

ROWS = [
    {"case": "prefill", "tokens/s": 1234.5, "ratio": 0.25},
    {"case": "x", "tokens/s": 7, "ratio": 12.5},
]


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.51, 3.0), (0.95, 4.0), (1.0, 4.0)],
)
def test_percentile(share: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 4.0, 2.0], share) == expected


def test_the_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_report("Speed", ROWS, as_json=False)
    title, head, rule, first, second = capsys.readouterr().out.strip().splitlines()
    assert title == "Speed"
    assert len(head) == len(rule) == len(first) == len(second)
    assert first.split() == ["prefill", "1234", "0.25"]


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_markdown(ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["| case | tokens/s | ratio |", "| --- | --- | --- |"]
    assert lines[2] == "| prefill | 1234 | 0.25 |"


def test_json_stands_alone_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/engine_step.py", "--threads", "2"])
    print_report("Speed", ROWS, as_json=True)
    output = capsys.readouterr()
    report = json.loads(output.out)
    assert report["rows"] == ROWS
    assert report["command"] == "engine_step.py --threads 2"
    assert report["machine"]["cores"] >= 1
    assert "prefill" in output.err


def test_markdown_with_notes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"case": "a|b", "ratio": 0.25}]
    print_report("Speed", rows, as_json=False, as_markdown=True, notes=["one", "two"])
    title, _, *table, _, first, second = capsys.readouterr().out.strip().splitlines()
    assert title.startswith("Speed; ")
    assert "load average" in title
    assert table == ["| case | ratio |", "| --- | ---: |", "| a\\|b | 0.25 |"]
    assert (first, second) == ("- one", "- two")
