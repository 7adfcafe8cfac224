from __future__ import annotations

from collections.abc import Iterator

import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api
from .fake_engine import FakeEngine
from .fake_model import FakeModel, default_script


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """Answers "Hello world!" in three tokens and EOS."""
    engine = FakeEngine(default_script)
    engine.start()
    yield engine
    engine.shutdown()


@pytest.fixture
def model(engine: FakeEngine) -> FakeModel:
    return FakeModel(engine)


@pytest.fixture
def api(model: FakeModel) -> Api:
    return Api(create_app(model, ServerSettings()))
