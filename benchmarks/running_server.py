"""A real `ftllm server` in a process of its own, on a port of this machine."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx
from child_process import end

START_SECONDS = 120  # a model that is on disk loads in a few seconds
STOP_SECONDS = 60  # above the server's own limit for running requests
# Where models are, and what computes.
_KEPT_VARIABLES = ("FTLLM_CACHE", "FTLLM_CACHE_DIR", "FTLLM_MODELS_FILE", "FTLLM_ISA")
_LISTENING = re.compile(r"Uvicorn running on (https?://\S+)")


def ftllm_command() -> str:
    """The installed command of the environment that this interpreter belongs to."""
    return str(Path(sysconfig.get_path("scripts")) / "ftllm")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change how a server behaves."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FTLLM_") or name in _KEPT_VARIABLES
    }


class RunningServer:
    """Starts `ftllm server` with `arguments`; use it in a `with` block.

    `command`: what takes the place of the installed command. `environment`: beside this process's.
    `port`: 0 takes a free one. Raises `RuntimeError` with the log's end when the server does not
    come up.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        tls: ssl.SSLContext | None = None,  # how to talk to a server with a certificate
    ) -> None:
        self._arguments = tuple(arguments)
        self._command = tuple(command) or (ftllm_command(),)
        self._environment = dict(environment or {})
        self._port = port
        self._tls = tls
        self._log_file = log
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> RunningServer:
        if self._log_file is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ftllm-server-")
            self._log_file = Path(self._folder.name) / "server.log"
        command = [*self._command, "server", *self._arguments]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**clean_environment(), **self._environment},
                cwd=self._log_file.parent,  # a folder without a package of this name
            )
        try:
            self._wait_until_it_answers(time.monotonic() + START_SECONDS)
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
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def pid(self) -> int:
        return self._started().pid

    def alive(self) -> bool:
        return self._started().poll() is None

    def log(self) -> str:
        """Everything written to stdout and stderr so far."""
        assert self._log_file is not None, "the server was never started"
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        self._started().send_signal(number)

    def stop(self) -> int:
        """Ends the server as an operator would, and returns its exit code. Idempotent."""
        return end(self._started(), patience=STOP_SECONDS)

    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was never started"
        return self._process

    def _wait_until_it_answers(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if not self.alive():
                raise RuntimeError(f"ftllm server stopped at once:\n{self.log()[-4000:]}")
            listening = _LISTENING.search(self.log())
            if listening is not None:
                self.url = listening[1]
                verify = self._tls or True
                if httpx.get(f"{self.url}/health", timeout=10, verify=verify).status_code == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"ftllm server did not answer in time:\n{self.log()[-4000:]}")
