"""Real servers with real models. A server's fixture also ends it, and looks at what it leaves:
exit code 0 and a log without errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_server import RunningServer

from .servers import MODELS_FILE, ServerFactory, errors_in

FetchModel = Callable[[str], Path]


@pytest.fixture(scope="session")
def serving(model_file: FetchModel, tmp_path_factory: pytest.TempPathFactory) -> ServerFactory:
    """Starts a server of a model by its short name."""

    @contextmanager
    def start(model: str, *options: str) -> Iterator[RunningServer]:
        model_file(model)  # fetched here, where no deadline runs
        log = tmp_path_factory.mktemp("server") / "server.log"
        arguments = [model, "--models_file", str(MODELS_FILE), *options]
        with RunningServer(arguments, log=log) as server:
            yield server
            code = server.stop()
            assert errors_in(server.log()) == []
            assert code == 0, server.log()[-2000:]

    return start


@pytest.fixture(scope="session")
def smollm2(serving: ServerFactory) -> Iterator[RunningServer]:
    """The default model with the default options, but for the memory."""
    with serving("smollm2-135m", "--tokens", "16384") as server:
        yield server
