"""FTLLM_ISA forces an instruction set, and every one that this processor has passes the suite."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from ftllm import _core

# Of this architecture, the best last, with the flag of /proc/cpuinfo that each one needs most. AMX
# needs the kernel's permission besides.
_FLAGS = (
    {"neondot": "asimddp"}
    if platform.machine() == "aarch64"
    else {
        "avx2": "avx2",
        "avxvnni": "avx_vnni",
        "avx512": "avx512dq",
        "avx512vnni": "avx512_vnni",
        "amx": None,
    }
)
_ISAS = ("scalar", *_FLAGS)
_ROOT = Path(__file__).parents[2]
_FOLDERS = ("tests/kernels", "tests/formats")

# Two terms that cancel when the second product is rounded on its own, to 1 + 2^-11, and leave 2^-24
# when it is fused with the sum. Lanes and panels then show how wide the vectors are.
_PROBE = """
import numpy as np
from ftllm import _core
weight = _core.Weight(format="f32", rows=1, columns=2)
row = np.array([1.0, 1.0 + 2.0**-12], np.float32)
pool = _core.ThreadPool(threads=1)
weight.fill(first_row=0, count=1, source="f32", data=memoryview(row.tobytes()), pool=pool)
x = np.array([[-(1.0 + 2.0**-11), 1.0 + 2.0**-12]], np.float32)
y = _core.kernels.linear(weight=weight, x=x)
print(_core.isa(), float(y[0, 0]) * 2.0**24, _core.panel_rows())
"""
_EXPECTED = {
    "scalar": "scalar 0.0 8",
    "avx2": "avx2 1.0 8",
    "avxvnni": "avxvnni 1.0 8",
    "avx512": "avx512 1.0 16",
    "avx512vnni": "avx512vnni 1.0 16",
    "amx": "amx 1.0 16",
    "neondot": "neondot 1.0 4",
}


def run(isa: str, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FTLLM_ISA": isa}
    return subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=_ROOT / "tests",  # where no folder is called ftllm
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@cache
def runs_here(isa: str) -> bool:
    probe = run(isa, "-c", "from ftllm import _core; print(_core.isa())")
    if probe.returncode == 0:
        return True
    assert "OptionError" in probe.stderr
    known = f"FTLLM_ISA is {isa}, which this processor cannot run" in probe.stderr
    assert known or f"FTLLM_ISA is '{isa}'; this build knows scalar" in probe.stderr
    return False


@pytest.mark.parametrize("isa", _ISAS)
def test_the_forced_one_runs(isa: str) -> None:
    if not runs_here(isa):
        assert _FLAGS[isa] not in Path("/proc/cpuinfo").read_text("utf-8").split()
        return
    probe = run(isa, "-c", _PROBE)
    assert probe.stdout.strip() == _EXPECTED[isa], probe.stderr


def test_the_best_one_is_the_default() -> None:
    best = [isa for isa in _ISAS if runs_here(isa)][-1]
    assert run("", "-c", _PROBE).stdout.strip() == _EXPECTED[best]


@pytest.mark.parametrize("value", ["avx", "AVX2", "sse2 ", "1"])
def test_an_unknown_one_is_an_error_that_lists_the_known(value: str) -> None:
    probe = run(value, "-c", _PROBE)
    assert probe.returncode == 1
    last = probe.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ftllm.errors.OptionError: FTLLM_ISA is '{value}'")
    assert all(isa in last for isa in _ISAS)


@pytest.mark.parametrize("isa", _ISAS)
def test_the_suite_passes_on(isa: str) -> None:
    """All kernel and format tests but these; the process's own set is what pytest runs anyway."""
    if isa == _core.isa() or not runs_here(isa):
        return
    folders = [str(_ROOT / folder) for folder in _FOLDERS]
    result = run(
        isa, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--capture=no", f"--rootdir={_ROOT}",
        "-c", str(_ROOT / "pyproject.toml"), f"--ignore={__file__}", *folders,
    )  # fmt: skip
    assert result.returncode == 0, (result.stdout + result.stderr)[-4000:]
    assert " passed" in result.stdout
