"""Tells of long work in the log: when it begins, and how long it took."""

import logging
import time

from ftllm.progress import ProgressTask

cli_log = logging.getLogger("ftllm.cli")


class LogProgress:
    def task(self, label: str, total: int, unit: str) -> ProgressTask:
        return _LoggedTask(label)


class _LoggedTask:
    def __init__(self, label: str) -> None:
        self._label = label
        self._started = 0.0

    def advance(self, n: int) -> None:
        pass

    def __enter__(self) -> ProgressTask:
        self._started = time.monotonic()
        cli_log.info("%s begins", self._label)
        return self

    def __exit__(self, *details: object) -> None:
        cli_log.info("%s: %.1f s", self._label, time.monotonic() - self._started)
