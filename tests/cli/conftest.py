from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from ftllm.cli.environment import PREFIX


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables of ftllm; tests set their own."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        if name != "FTLLM_ISA":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """`ftllm server` sets up the log of its process, which here is that of the tests."""
    loggers = [logging.getLogger(name) for name in ("", "ftllm", "uvicorn")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
