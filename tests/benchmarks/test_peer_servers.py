"""The measuring of benchmarks/peer_servers.py, against endpoints without a model."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import peer_servers
import pytest
from peer_servers import Load
from peer_worker import Engine, Worker

from tests.cli.endpoint import FakeEndpoint

LOAD = Load(clients=2, requests=4, prompt_tokens=20, max_tokens=5)
WORKER = """
import json, sys
print(json.dumps({"name": "fake"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    stream = [0.1 * place for place in range(1, request["max_tokens"] + 1)]
    print(json.dumps({"times": [stream for _ in request["prompts"]]}), flush=True)
"""
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
if "broken" in sys.argv:
    sys.exit("no model")
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def worker(tmp_path: Path) -> Engine:
    path = tmp_path / "worker.py"
    path.write_text(WORKER)
    return Engine("ftllm", sys.executable, str(path), {}, 20)


def test_servers_beside_the_engine(worker: Engine) -> None:
    with FakeEndpoint() as ours, FakeEndpoint() as theirs, Worker(worker) as running:
        urls = {"ftllm": ours.url, "llama-server": theirs.url}
        medians, engine = peer_servers.compare(urls, running, LOAD, 1)
    assert engine == pytest.approx(4 * 5 / 0.5)
    assert len(ours.bodies) == len(theirs.bodies) == 2 + 4  # the first warm up
    medians["ftllm"]["output_rate"] = 38.0
    medians["llama-server"]["output_rate"] = 19.0
    table = peer_servers.rows(medians, engine)
    assert [row["server"] for row in table] == ["ftllm", "llama-server", "ftllm's engine"]
    assert [row["x"] for row in table] == [1.0, 2.0, 0.95]
    assert len({tuple(row) for row in table}) == 1  # the same columns


def test_requests_that_fail_are_an_error() -> None:
    with FakeEndpoint(fail_every=2) as endpoint, pytest.raises(RuntimeError, match="too busy"):
        peer_servers.bench(endpoint.url, LOAD)


def test_the_rate_of_the_engine_counts_all_requests(worker: Engine) -> None:
    with Worker(worker) as running:
        assert peer_servers.engine_rate(running, random.Random(1), LOAD) == pytest.approx(40)


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_text(f"#!{sys.executable}\n{SERVER}")
    path.chmod(0o755)
    return path


def test_a_server_is_there_until_the_block_ends(binary: Path) -> None:
    with peer_servers.llama_server(binary, []) as url:
        assert peer_servers.httpx.get(f"{url}/health").status_code == 200
    with pytest.raises(peer_servers.httpx.TransportError):
        peer_servers.httpx.get(f"{url}/health")


def test_a_server_that_stops_tells_why(binary: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(RuntimeError, match="stopped with code 1"),
        peer_servers.llama_server(binary, ["broken"]),
    ):
        pytest.fail("it started")
    assert "no model" in capfd.readouterr().err
