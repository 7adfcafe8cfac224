"""200 clients for a while, or for as many seconds as FTLLM_SOAK_SECONDS says: see
`benchmarks/soak.py`, which does the same beside a real model."""

from __future__ import annotations

import asyncio
import os

import pytest
import soak

from .faulty import StartServer

pytestmark = pytest.mark.e2e

CLIENTS = 200
SECONDS = float(os.environ.get("FTLLM_SOAK_SECONDS", "15"))
GROWTH = 16 << 20  # bytes, from the end of warming up


# Of clients whose opening of a connection was cancelled; what the server has open is counted.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_nothing_is_wrong_lost_or_left(start_server: StartServer) -> None:
    with start_server("--tokens", "2048") as server:  # so few that cached blocks are evicted
        result = asyncio.run(soak.run(server.url, model="tiny", clients=CLIENTS, seconds=SECONDS))
        print(result.row())
        assert result.faults == []
        # Each client asks at least once, however slow the machine is.
        assert result.outcomes["streamed"] > CLIENTS / 4
        assert result.outcomes["whole"] > CLIENTS / 8
        assert result.outcomes["hung up"] > CLIENTS / 16
        sizes = [gauges.memory for _, gauges in result.settled]
        assert sizes[-1] - sizes[0] < GROWTH
        engine = server.engine()
        assert engine["failed_steps"] == 0
        assert engine["kv_blocks_cached"] > 0
        assert server.process.stop() == 0
        assert "Traceback" not in server.process.log()
