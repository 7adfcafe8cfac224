"""The kernels of every instruction set agree with the scalar ones, natively or under emulation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ISAS = ("avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neondot")


def emulate(*isas: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_ROOT / "scripts" / "emulate", *isas],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def outcome() -> subprocess.CompletedProcess[str]:
    return emulate()


@pytest.mark.parametrize("isa", _ISAS)
def test_kernels_agree_with_the_scalar_ones(
    outcome: subprocess.CompletedProcess[str], isa: str
) -> None:
    lines = [line for line in outcome.stdout.splitlines() if line.startswith(f"{isa} ")]
    assert len(lines) == 1, outcome.stdout + outcome.stderr
    skipped = re.fullmatch(rf"{isa} +skipped +(.+)", lines[0])
    if skipped:
        pytest.skip(skipped[1])
    passed = re.fullmatch(rf"{isa} +(native|emulated) +(\d+) checks, 0 failed", lines[0])
    assert passed, lines[0] + "\n" + outcome.stderr
    assert int(passed[2]) > 3000


def test_all_sets_are_looked_at() -> None:
    units = {path.stem for path in (_ROOT / "csrc" / "isa").glob("*.cc")}
    assert units == {*_ISAS, "scalar", "dispatch"}


def test_an_unknown_set_is_an_error_that_lists_the_known() -> None:
    result = emulate("avx1024")
    assert result.returncode == 2
    assert "avx1024 is not known" in result.stderr
    assert all(isa in result.stderr for isa in _ISAS)
