"""Real limits on memory: told at start with the numbers, before anything is loaded."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from running_server import clean_environment, ftllm_command

pytestmark = pytest.mark.e2e

LIMIT_KB = 1_500_000  # what Python and its libraries map, and a bit


def start(model: Path, *options: str, limit: bool) -> str:
    """The last line of a server that must not start."""
    command = [ftllm_command(), "server", str(model), "--port", "0", "--threads", "1", *options]
    if limit:
        command = [
            "sh",
            "-c",
            'ulimit -v "$1" && shift && exec "$@"',
            "sh",
            str(LIMIT_KB),
            *command,
        ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=clean_environment(), check=False
    )
    assert run.returncode == 2, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr.strip().splitlines()[-1]


def test_address_space(tiny_model: Path) -> None:
    line = start(tiny_model, "--tokens", str(1 << 24), limit=True)  # a KV cache of some GiB
    assert "MiB of address space (its weights are 1 MiB, the KV cache is at least" in line
    assert "ulimit -v" in line


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY, reason="a limit is set"
)
def test_memory_of_the_machine(tiny_model: Path) -> None:
    line = start(tiny_model, "--kv_cache_limit", "100t", limit=False)
    assert "the KV cache is at least 104857600 MiB), but only" in line
    assert "lower --tokens or --kv_cache_limit" in line
