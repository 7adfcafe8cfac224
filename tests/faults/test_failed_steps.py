"""Steps of the engine that raise: their requests end with an error, the server goes on, and after
three in a row it says that it needs a restart."""

from __future__ import annotations

import pytest

from .clients import StreamReader
from .faulty import FaultyServer

pytestmark = pytest.mark.e2e


def test_only_the_requests_of_a_failed_step_end(server: FaultyServer) -> None:
    server.switch("seconds", 0.01)
    expected = server.text("later", max_tokens=12)
    readers = [StreamReader(server, f"{n}", max_tokens=60_000) for n in range(3)]
    for reader in readers:
        reader.wait_for_chunks(5)
    server.switch("fail", 1)
    for reader in readers:
        reader.wait_for_end()
        assert reader.is_whole
        assert reader.error is not None
        assert reader.error["code"] == "internal_error"
        assert "a fault of the test" not in str(reader.error)  # that is for the log
        assert reader.text.count("event: error") == 1
    server.wait_until_idle()
    assert server.get("/live").status_code == 200
    assert server.text("later", max_tokens=12) == expected
    assert server.metrics()["ftllm:engine_failed_steps_total", ""] == 1
    assert server.metrics()["ftllm:request_success_total", "error"] == 3
    assert "a fault of the test" in server.process.log()


def test_three_failed_steps_in_a_row_ask_for_a_restart(server: FaultyServer) -> None:
    server.switch("fail", 2)
    for _ in range(2):
        assert server.complete().status_code == 500
    assert server.get("/live").status_code == 200
    assert server.complete().status_code == 200  # which starts the count anew
    server.switch("fail", 3)
    for _ in range(3):
        assert server.get("/live").status_code == 200
        answer = server.complete()
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "internal_error"
    for path in ("/live", "/ready", "/health"):
        assert server.get(path).status_code == 503
    assert "last 3 steps failed" in server.get("/live").json()["status"]
    assert "last 3 steps failed" in server.get("/health").json()["reason"]
    assert server.complete().status_code == 200
    for path in ("/live", "/ready", "/health"):
        assert server.get(path).status_code == 200
