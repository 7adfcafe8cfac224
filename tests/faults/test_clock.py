"""The time of day jumps, as when NTP or an operator sets it: durations come from another clock."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

from .clients import StreamReader
from .faulty import StartServer

DAY = 86_400.0
ROOT = Path(__file__).parents[2]
PACKAGES = ("cli", "engine", "ftllm", "server", "sources", "text", "tool_parsers", "deploy")

# Where the time of day is meant: what is told to clients, and the age of files on a disk.
TIME_OF_DAY = {
    "engine/checkpoints/mapped_file.py",
    "engine/pack_cache.py",
    "server/limit_gate.py",
    "server/otel_tracer.py",
    "server/responses_answer.py",
    "server/routes/loads.py",
    "server/services.py",
    "text/chat_template.py",
}


@pytest.mark.e2e
def test_durations_survive_jumps(start_server: StartServer) -> None:
    options = ("--stall_timeout", "5", "--send_timeout", "5", "--keep_alive", "1")
    with start_server(*options) as server:
        server.switch("seconds", 0.005)
        expected = server.text("x", max_tokens=300)
        readers = [StreamReader(server, "x", max_tokens=300) for _ in range(3)]
        chunks = 0
        for offset in (DAY, -DAY, 0.0, 40 * DAY, -40 * DAY):
            server.switch("clock", offset)
            chunks += 20
            for reader in readers:
                reader.wait_for_chunks(chunks)
            assert server.get("/live").status_code == 200
            assert server.get("/ready").status_code == 200
        for reader in readers:
            reader.wait_for_end()
            assert reader.is_whole
            assert reader.answer == expected
        server.wait_until_idle()
        created = server.complete().json()["created"]
        assert created < server.get("/server_info").json()["started"]  # the jump was there
        for (name, _), value in server.metrics().items():
            assert math.isfinite(value), name
            if name.endswith("_seconds_sum"):
                assert 0 <= value < DAY / 2, name
        assert server.process.stop() == 0
        assert "Traceback" not in server.process.log()


def test_the_time_of_day_measures_nothing() -> None:
    """`time.time` and its like are for dates; whoever measures takes `time.monotonic`."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if any(_tells_the_date(node) for node in ast.walk(ast.parse(path.read_text()))):
                found.add(path.relative_to(ROOT).as_posix())
    assert found == TIME_OF_DAY


def _tells_the_date(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom) and node.module == "time":
        return any(alias.name in ("time", "time_ns") for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr)
        in {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
    )
