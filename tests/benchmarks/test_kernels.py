"""The kernel benchmark on small shapes: every case and every limit has its row."""

from __future__ import annotations

import json
import sys

import kernels
import pytest

from ftllm import _core


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SHAPES", {"up": (64, 256), "down": (48, 512)})
    monkeypatch.setattr(kernels, "_CASE_BYTES", 1)
    monkeypatch.setattr(kernels, "_COLD_BYTES", 1)
    monkeypatch.setattr(kernels, "_LEAST_SECONDS", 1e-6)
    monkeypatch.setattr(kernels, "_LIMIT_SECONDS", 0.001)


def test_rows_of_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--formats=q4_k,bf16", "--shapes=up,down", "--rows=1,17", "--rounds=2"]
    monkeypatch.setattr(sys, "argv", ["kernels.py", *flags, "--threads=1", "--json"])
    kernels.main()
    output = capsys.readouterr()
    rows = json.loads(output.out)["rows"]
    assert [row["case"] for row in rows[:5]] == [
        "empty parallel loop",
        "limit: float32",
        "limit: int8",
        "limit: int4",
        "limit: read",
    ]
    assert [(row["case"], row["M"]) for row in rows[5:]] == [
        (f"{name} {shape}", m)
        for shape in ("up 64x256", "down 48x512")
        for name in ("q4_k", "bf16")
        for m in (1, 17)
    ]
    for row in rows[5:]:
        assert row["isa"] == _core.isa()
        assert row["GB/s"] > 0
        assert 0 < row["% of peak"] < 150
    assert "q4_k up 64x256" in output.err  # the table


@pytest.mark.parametrize("flag", ["--formats=q9", "--shapes=sideways"])
def test_unknown_names_are_refused_with_the_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["kernels.py", flag])
    with pytest.raises(SystemExit) as stopped:
        kernels.main()
    assert stopped.value.code == 2
    assert "known are" in capsys.readouterr().err
