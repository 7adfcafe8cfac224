"""Runs the server until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn

from ftllm.server.app import create_app
from ftllm.server.log_config import log_config
from ftllm.server.model import ServedModel
from ftllm.server.settings import ServerSettings

server_log = logging.getLogger("ftllm.server")


def serve(model: ServedModel, settings: ServerSettings) -> None:
    """Starts the engine, serves until SIGINT or SIGTERM, lets running requests finish within
    `settings.shutdown_timeout`, and shuts the engine down. A second signal stops at once."""
    config = uvicorn.Config(
        create_app(model, settings),
        host=settings.bind_host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,  # the app writes its own line, with the request id
        log_config=log_config(settings.log_level),
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    for warning in settings.warnings:
        server_log.warning("%s", warning)
    model.engine.start()
    try:
        with _signals_end_the_run(), suppress(KeyboardInterrupt):
            uvicorn.Server(config).run()
    finally:
        model.engine.shutdown()


@contextmanager
def _signals_end_the_run() -> Iterator[None]:
    """uvicorn raises the signal that stopped it once more when it is done. By default SIGTERM
    would then kill the process before the engine is shut down. Only the main thread gets
    signals, so elsewhere there is nothing to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
