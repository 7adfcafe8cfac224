from __future__ import annotations

import time

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import Request

from .api import Api
from .fake_engine import FakeEngine


def test_a_running_engine(api: Api) -> None:
    response = api.get("/health")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "reason": None,
        "live": True,
        "ready": True,
        "draining": False,
        "running": 0,
        "waiting": 0,
        "kv_blocks_used": 0,
        "kv_cache_usage": 0.0,
    }


def test_a_dead_engine(api: Api, engine: FakeEngine) -> None:
    engine.alive = False
    response = api.get("/health")
    assert response.status_code == 503
    assert "stopped" in response.json()["reason"]


def test_an_engine_whose_steps_fail(api: Api, engine: FakeEngine) -> None:
    for failed, status in ((2, 200), (3, 503), (7, 503), (0, 200)):
        engine.failed_in_row = failed
        for path in ("/live", "/ready", "/health"):
            assert api.get(path).status_code == status
    engine.failed_in_row = 7
    assert "last 7 steps failed" in api.get("/live").json()["status"]


def test_a_hung_engine(api: Api, engine: FakeEngine) -> None:
    engine.last_step_at = time.monotonic() - 3600
    assert api.get("/health").status_code == 200  # it has nothing to do
    engine.go.clear()
    request = Request(request_id="r", prompt_ids=(1,), params=SamplingParams())
    engine.submit(request, lambda _: None)
    response = api.get("/health")
    assert response.status_code == 503
    assert "3600" in response.json()["reason"]
    engine.last_step_at = time.monotonic() - 5
    assert api.get("/health").status_code == 200
    engine.go.set()
