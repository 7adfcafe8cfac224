"""The benchmark of the event loop, against a server with a scripted engine."""

from __future__ import annotations

import asyncio

import event_loop

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from tests.server.api import listening
from tests.server.fake_engine import FakeEngine
from tests.server.fake_model import FakeModel


def test_rows() -> None:
    engine = FakeEngine(lambda _: [65] * 400, step_seconds=0.001)
    engine.start()
    try:
        with listening(create_app(FakeModel(engine), ServerSettings())) as url:
            rows = asyncio.run(event_loop.run(url, streams=3, size=20_000, seconds=0.5))
    finally:
        engine.shutdown()
    assert [row["beside"] for row in rows] == ["nothing", "3 streams", "3 streams, 0.02 MB prompts"]
    for row in rows:
        assert row["requests"] > 5
        assert 0 < row["p50 ms"] <= row["p99 ms"] <= row["worst ms"]
    assert rows[0]["tokens/s"] == 0
    assert rows[1]["tokens/s"] > 50
    assert rows[2]["s a prompt"] != "-"
