"""ftllm on a Ray of its own on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import httpx
from child_process import end
from running_router import free_port

HOST = Path(__file__).parent / "ray_worker.py"
START_SECONDS = 480  # Ray's own processes take their time
STOP_SECONDS = 60
# Ray's own limits are too short for its processes on a small machine that is busy.
ENVIRONMENT = {
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 by default
}


def has_ray() -> bool:
    return find_spec("ray") is not None


class RunningRay:
    """Starts Ray with `ftllm.deploy.ray:app` once for each entry of `applications`, name to
    arguments, which is served at `url_of(name)`; use it in a `with` block.

    `folder` gets the log. Raises `RuntimeError` with the log's end when it does not come up.
    """

    def __init__(self, applications: Mapping[str, Mapping[str, object]], *, folder: Path) -> None:
        self._applications = dict(applications)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()

    def __enter__(self) -> RunningRay:
        command = [sys.executable, str(HOST), str(self._port), json.dumps(self._applications)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | ENVIRONMENT,
                cwd=self._folder,
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def _log(self) -> Path:
        return self._folder / "serve.log"

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def url_of(self, name: str) -> str:
        return f"http://127.0.0.1:{self._port}/{name}"

    def replica_pids(self, name: str) -> list[int]:
        """Of the processes that have an engine of this application."""
        assert self._process is not None, "Ray was never started"
        start = f"ray::ServeReplica:{name}:engine"
        return [pid for pid in descendants(self._process.pid) if title(pid).startswith(start)]

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if all(self._ready(name) for name in self._applications):
                return
            time.sleep(0.5)
        raise RuntimeError(f"ftllm on Ray did not come up:\n{self.log()[-4000:]}")

    def _ready(self, name: str) -> bool:
        """All its replicas run and answer."""
        arguments = self._applications[name]
        try:
            answer = httpx.get(f"{self.url_of(name)}/ready", timeout=10, trust_env=False)
        except httpx.TransportError:
            return False
        wanted = arguments.get("num_replicas", 1)
        return answer.status_code == 200 and len(self.replica_pids(name)) == wanted

    def _stop(self) -> None:
        assert self._process is not None
        family = descendants(self._process.pid)
        end(self._process, patience=STOP_SECONDS)
        for pid in family:  # what Ray did not end itself
            if title(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def title(pid: int) -> str:
    """What a process calls itself; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            found.append(child)
            waiting.append(child)
    return found
