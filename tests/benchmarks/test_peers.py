"""The measuring of benchmarks/peers.py, with workers whose speed is known."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import peers
import pytest

SCRIPT = """
import json, sys
job = json.loads(sys.argv[1])
print(json.dumps({"name": job["name"]}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    first = len(request["prompt"]) / job["prefill"]
    gap = 1 / job["decode"]
    times = [first + gap * place for place in range(request["max_tokens"])]
    print(json.dumps({"times": times[: job["limit"]]}), flush=True)
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "worker.py"
    path.write_text(SCRIPT)
    return str(path)


def job(name: str, *, prefill: int, decode: int, limit: int = 1000) -> dict[str, object]:
    return {"name": name, "prefill": prefill, "decode": decode, "limit": limit}


def test_ratios_above_1_mean_ahead(script: str) -> None:
    fast, slow = job("fast", prefill=2048, decode=100), job("slow", prefill=512, decode=50)
    with (
        peers.worker(sys.executable, script, fast) as ours,
        peers.worker(sys.executable, script, slow) as peer,
    ):
        assert (ours.name, peer.name) == ("fast", "slow")
        rows = peers.rows(*peers.compare(ours, peer, 3))
    assert [row["ratio"] for row in rows] == [4.0, 2.0, 4.0, 2.0]
    assert [row["ftllm"] for row in rows] == [2048.0, 100.0, 250.0, 10.0]


def test_a_worker_that_stops_early_is_an_error(script: str) -> None:
    short = job("short", prefill=512, decode=50, limit=3)
    with (
        peers.worker(sys.executable, script, short) as worker,
        pytest.raises(RuntimeError, match="3 of 8 tokens"),
    ):
        worker.generate([1, 2], 8)


def test_a_worker_that_cannot_start_is_an_error(script: str) -> None:
    with (
        pytest.raises(RuntimeError, match="stopped with code 1"),
        peers.worker(sys.executable, script, {}),
    ):
        pytest.fail("a worker without a job started")


@pytest.mark.e2e
def test_our_worker_speaks_the_same_lines(model_file: Callable[[str], Path]) -> None:
    arguments = {"model": str(model_file("smollm2-135m")), "threads": 2, "context": 512}
    worker = Path(peers.__file__).with_name("token_worker_ftllm.py")
    run = subprocess.run(
        [sys.executable, str(worker), json.dumps(arguments)],
        input='{"prompt": [1000, 2000, 3000], "max_tokens": 4}\n',
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    ready, answer = map(json.loads, run.stdout.splitlines())
    assert ready["name"].startswith("ftllm ")
    assert len(answer["times"]) == 4
    assert answer["times"] == sorted(answer["times"])
