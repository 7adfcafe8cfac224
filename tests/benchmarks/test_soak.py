"""What the soak counts, and that it notices what is wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
import soak
from server_gauges import slope

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from tests.server.api import listening
from tests.server.fake_engine import FakeEngine
from tests.server.fake_model import FakeModel


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    engine = FakeEngine(lambda request: [65 + len(request.prompt_ids) % 20] * 40)
    engine.start()
    yield engine
    engine.shutdown()


def run(engine: FakeEngine) -> soak.Soak:
    with listening(create_app(FakeModel(engine), ServerSettings())) as url:
        return asyncio.run(soak.run(url, model="tiny/model", clients=5, seconds=1.5))


def test_a_sound_server(engine: FakeEngine) -> None:
    result = run(engine)
    assert result.problems == []
    row = result.row()
    assert row["wrong"] == row["no end"] == row["blocks left"] == 0
    assert result.outcomes["streamed"] > 5
    assert result.outcomes["whole"] > 5


def test_wrong_answers_are_found(engine: FakeEngine) -> None:
    draw = random.Random(1)
    engine.script = lambda _: [65 + draw.randrange(20)] * 40
    result = run(engine)
    assert result.outcomes["wrong"] > 5
    assert len(result.faults) > 5


def test_failures_are_found(engine: FakeEngine) -> None:
    sound = engine.script

    def script(request: object) -> list[int]:
        if len(engine.requests) > 100:
            engine.fail_after = 2
        return list(sound(request))  # type: ignore[arg-type]

    engine.script = script
    result = run(engine)
    assert result.outcomes["no end"] > 5
    assert "internal_error" in " ".join(result.faults) or "500" in " ".join(result.faults)


def test_slope() -> None:
    assert slope([]) == slope([(0, 5)]) == 0.0
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
