"""Real servers of a tiny model, which tests ill-treat."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_server import RunningServer

from .faulty import FAULTY_SERVER, FaultyServer, StartServer
from .tiny_model import write_tiny_model

KV_TOKENS = 65_536
OPTIONS = ("--threads", "1", "--tokens", str(KV_TOKENS), "--admin_api_key", "admin")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="module")
def start_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> StartServer:
    """Starts a server whose faults can be turned on; see `faulty_server.py`."""

    @contextmanager
    def start(*options: str, port: int = 0) -> Iterator[FaultyServer]:
        folder = tmp_path_factory.mktemp("server")
        arguments = [str(tiny_model), *OPTIONS, "--cache_dir", str(folder / "cache"), *options]
        command = (sys.executable, str(FAULTY_SERVER), str(folder))
        log = folder / "server.log"
        with RunningServer(arguments, log=log, command=command, port=port) as server:
            yield FaultyServer(server, folder)

    return start


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Iterator[FaultyServer]:
    """One for the tests of a file; in the end it must be idle, and leave in good order."""
    with start_server() as server:
        yield server
        server.wait_until_idle()
        assert server.process.stop() == 0, server.process.log()[-2000:]
