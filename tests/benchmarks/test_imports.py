"""Benchmarks are run by hand and seldom: what they import of each other has to be there."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = {path.stem for path in FOLDER.glob("*.py") if "worker" not in path.stem}


@pytest.mark.parametrize("name", sorted(SCRIPTS))  # workers run in the environments of peers
def test_a_benchmark_imports(name: str) -> None:
    importlib.import_module(name)
