"""A router in front of replicas, in a process of its own: smg or vllm-router, unmodified."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx
from child_process import end

START_SECONDS = 60
STOP_SECONDS = 20
PROGRAMS = ("smg", "vllm-router")

# What lets a replica stop, or fail, without a client noticing: it is left out after one failed
# health check or two failed requests, and what it had not begun to answer goes to another one.
FAILOVER = {
    "--health-check-interval-secs": 1,
    "--health-check-timeout-secs": 5,
    "--health-failure-threshold": 1,
    "--health-success-threshold": 1,
    "--retry-max-retries": 10,
    "--retry-initial-backoff-ms": 50,
    "--retry-max-backoff-ms": 1000,
    "--cb-failure-threshold": 2,
    "--cb-success-threshold": 1,
    "--cb-timeout-duration-secs": 2,
}


def router_command(program: str) -> str | None:
    """Where `program` is: beside this interpreter, else on the path; None = nowhere."""
    beside = Path(sysconfig.get_path("scripts")) / program
    return str(beside) if beside.exists() else shutil.which(program)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class RunningRouter:
    """Starts `program` in front of the servers at `urls`; use it in a `with` block.

    Raises `RuntimeError` with the log's end when it does not find them all.
    """

    def __init__(
        self, program: str, urls: Sequence[str], *, log: Path, policy: str = "cache_aware"
    ) -> None:
        self.program = program
        self._urls = tuple(urls)
        self._policy = policy
        self._log_file = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> RunningRouter:
        command = router_command(self.program)
        if command is None:
            raise RuntimeError(f"{self.program} is not installed: pip install {self.program}")
        port = free_port()
        arguments = [command, *(["launch"] if self.program == "smg" else [])]
        arguments += ["--worker-urls", *self._urls, "--policy", self._policy]
        arguments += ["--host", "127.0.0.1", "--port", str(port)]
        arguments += ["--prometheus-port", str(free_port())]
        for name, value in FAILOVER.items():
            arguments += [name, str(value)]
        if self.program == "smg":
            arguments += ["--load-monitor-interval", "1"]
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(os.environ)
            )
        self.url = f"http://127.0.0.1:{port}"
        try:
            self.wait_for_replicas(len(self._urls), seconds=START_SECONDS)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None, "the router was never started"
        end(self._process, patience=STOP_SECONDS)

    def log(self) -> str:
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def healthy_replicas(self) -> int:
        """How many replicas the router would send requests to."""
        workers = httpx.get(f"{self.url}/workers", timeout=10, trust_env=False).json()["workers"]
        return sum(bool(worker["is_healthy"]) for worker in workers)

    def wait_for_replicas(self, count: int, *, seconds: float) -> None:
        """Returns when exactly `count` replicas are healthy."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.healthy_replicas() == count:
                    return
            except (httpx.TransportError, ValueError):  # it is still starting
                pass
            time.sleep(0.1)
        raise RuntimeError(
            f"{self.program} did not come to {count} healthy replicas:\n{self.log()[-4000:]}"
        )
