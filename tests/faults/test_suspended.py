"""A server that is stopped for a while: SIGSTOP, a frozen container, a suspended machine."""

from __future__ import annotations

import http.client
import math
import signal
import time

import pytest

from .clients import StreamReader
from .faulty import StartServer

pytestmark = pytest.mark.e2e

STOPPED_SECONDS = 6.0


def status(connection: http.client.HTTPConnection) -> int:
    """Of one more request on it."""
    connection.request("GET", "/live")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_streams_go_on_and_nobody_takes_it_for_a_hang(start_server: StartServer) -> None:
    with start_server("--stall_timeout", "3", "--keep_alive", "1") as server:
        expected = server.text("alone", max_tokens=600)
        server.switch("seconds", 0.01)
        readers = [StreamReader(server, "alone", max_tokens=600) for _ in range(3)]
        for reader in readers:
            reader.wait_for_chunks(10)
        idle = http.client.HTTPConnection(*server.address, timeout=30)
        assert status(idle) == 200
        server.switch("seconds", 1)
        time.sleep(0.3)  # a step has begun that is not complete when the process goes on
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED_SECONDS)  # twice the stall timeout
        server.process.send_signal(signal.SIGCONT)
        for _ in range(20):
            live = server.get("/live")
            assert live.status_code == 200, live.text
            assert server.get("/ready").status_code == 200
        server.switch("seconds", 0)
        assert status(idle) == 200  # longer idle than clients keep a connection
        idle.close()
        for reader in readers:
            reader.wait_for_end()
            assert reader.is_whole
            assert reader.error is None
            assert reader.answer == expected
        server.wait_until_idle()
        samples = server.metrics()
        assert all(math.isfinite(value) and value >= 0 for value in samples.values())
        assert samples["ftllm:request_success_total", "length"] == 4
        slowest = samples["ftllm:e2e_request_latency_seconds_sum", ""]
        assert slowest >= 3 * STOPPED_SECONDS
        assert server.process.stop() == 0
