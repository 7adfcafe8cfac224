"""What tests know about a running server: where its models are, and how to look at it."""

from __future__ import annotations

import re
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import httpx
from openai import OpenAI
from running_server import RunningServer

MODELS_FILE = Path(__file__).parents[1] / "models.yaml"
IDLE_SECONDS = 10  # how long aborted requests may take to leave; a step takes well below one

_ERROR = re.compile(r"Traceback|Error\b| (ERROR|CRITICAL|WARNING) ")


class ServerFactory(Protocol):
    def __call__(self, model: str, *options: str) -> AbstractContextManager[RunningServer]: ...


def sdk(server: RunningServer, *, api_key: str = "none") -> OpenAI:
    """A client that does not hide failures by trying again."""
    return OpenAI(base_url=f"{server.url}/v1", api_key=api_key, max_retries=0, timeout=120)


def health(server: RunningServer) -> dict[str, object]:
    answer = httpx.get(f"{server.url}/health", timeout=10)
    assert answer.status_code == 200
    figures = answer.json()
    assert isinstance(figures, dict)
    return figures


def wait_until_idle(server: RunningServer) -> None:
    """Fails unless every request leaves, with every KV block that it held."""
    deadline = time.monotonic() + IDLE_SECONDS
    while True:
        figures = health(server)
        live = {name: figures[name] for name in ("running", "waiting", "kv_blocks_used")}
        if not any(live.values()):
            return
        assert time.monotonic() < deadline, f"the server does not come to rest: {live}"
        time.sleep(0.05)


def errors_in(log: str) -> list[str]:
    """Lines that tell of a failure."""
    return [line for line in log.splitlines() if _ERROR.search(line)]
