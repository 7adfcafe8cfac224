"""Runs the server until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from ftllm.server.app import create_app_of
from ftllm.server.http_protocol import limited_protocol
from ftllm.server.log_config import set_up_logging
from ftllm.server.model import EngineClient, ServedModel
from ftllm.server.open_files import make_room
from ftllm.server.services import Services
from ftllm.server.settings import ServerSettings

CONNECTION_SECONDS: Final = 2  # for connections to close after the last answer
HURRIED_CONNECTION_SECONDS: Final = 1  # the same after a second signal
# A connection may idle between two requests for longer than clients and load balancers keep one
# (httpx 5 s, most others up to 60): who closes first must be they, or a request meets the close.
IDLE_SECONDS: Final = 75
STEP_SECONDS: Final = 30.0  # that the engine's last step may take
HURRIED_STEP_SECONDS: Final = 1.0  # the same after a second signal

server_log = logging.getLogger("ftllm.server")


def serve(model: ServedModel, settings: ServerSettings) -> int:
    """Starts the engine, serves until SIGINT or SIGTERM, lets running requests finish within
    `settings.drain_timeout`, ends the rest, and shuts the engine down. A second signal stops now.

    Returns the exit code: see `ftllm.server.drain`.
    """
    set_up_logging(
        level=settings.log_level, form=settings.log_format, hide_input=settings.hide_input
    )
    services = Services(model, settings)
    config = http_config(create_app_of(services), settings)
    make_room(settings.limits.max_connections)
    for warning in settings.warnings:
        server_log.warning("%s", warning)
    model.engine.start()
    try:
        with _signals_end_the_run(), suppress(KeyboardInterrupt):
            DrainingServer(config, services).run()
    finally:
        hurried = services.drain.hurried
        patience = HURRIED_STEP_SECONDS if hurried else STEP_SECONDS
        if not _shut_down(model.engine, patience=patience):
            server_log.error("the engine's step does not end; leaving without it")
            _leave(services.drain.exit_code)
    return services.drain.exit_code


def http_config(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """How `app` is served. Raises `OptionError` when files for TLS cannot be used."""
    tls = settings.tls
    if tls is not None:
        tls.check()
    client_ca = None if tls is None else tls.client_ca
    return uvicorn.Config(
        app,
        host=settings.bind_host,
        port=settings.port,
        loop="uvloop",
        http=limited_protocol(settings.limits),
        ws="none",
        lifespan="on",
        access_log=False,  # the app writes its own line, with the request id
        log_config=None,  # it has been set up
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=CONNECTION_SECONDS,
        ssl_certfile=None if tls is None else tls.certfile,
        ssl_keyfile=None if tls is None else tls.keyfile,
        ssl_keyfile_password=None if tls is None else tls.password,
        ssl_ca_certs=None if client_ca is None else str(client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if client_ca is None else ssl.CERT_REQUIRED,
    )


class DrainingServer(uvicorn.Server):
    """Goes on listening while it drains, so that probes and new requests get an answer."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn hears of the first signal only: at a second one it would skip the end of the
        app's lifespan."""
        if not self._services.drain.draining:
            super().handle_exit(sig, frame)
        self._services.drain.on_signal(sig)

    async def main_loop(self) -> None:
        services = self._services
        await super().main_loop()
        await services.drain.wind_down(services.in_flight, services.model.engine)
        if services.drain.hurried:
            self.config.timeout_graceful_shutdown = HURRIED_CONNECTION_SECONDS


def _shut_down(engine: EngineClient, *, patience: float) -> bool:
    """False if a step still runs after `patience` seconds: nothing can interrupt it."""
    thread = threading.Thread(target=engine.shutdown, name="engine-shutdown", daemon=True)
    thread.start()
    thread.join(patience)
    return not thread.is_alive()


def _leave(code: int) -> None:
    """Ends the process although the engine's thread computes: to end Python would wait for it."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code or 1)


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
