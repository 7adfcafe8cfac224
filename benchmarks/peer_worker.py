"""A process that generates tokens for benchmarks/peers.py, with a limit on its patience.

A worker is told its job as JSON in its first argument. It prints a line when it is ready,
{"name": text}; then it reads one request a line, {"prompts": lists of token ids, "max_tokens": n,
"keep": whether the first prompt's KV cache is to be there for the same prompt}, and answers
{"times": for each prompt the seconds from the request to each token}. The prompts run side by
side. Decoding is greedy and stops at no token.
"""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
_END_SECONDS = 20  # to end by itself once its input is closed


class WorkerError(RuntimeError):
    """A worker stopped, took too long or gave too little. `cell` is the short form."""

    def __init__(self, cell: str, message: str) -> None:
        super().__init__(message)
        self.cell = cell


@dataclass(frozen=True, slots=True)
class Engine:
    """How a worker of an engine is started."""

    name: str  # a column of the table
    python: str
    script: str
    job: Mapping[str, object]
    limit: float = 240.0  # seconds for the start, and for one answer
    once: bool = False  # one round is enough of an engine that takes minutes
    lazy_kv: bool = False  # its KV cache takes RAM as it fills


class Worker:
    """A running worker; use it in a `with` block."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.begin = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (closed at exit)
        self._pending = b""
        self._process = subprocess.Popen(
            [engine.python, str(HERE / engine.script), json.dumps(dict(engine.job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._name: str | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(0 if kind is not None else _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    @property
    def name(self) -> str:
        """What it calls itself; waits until it is ready. Raises `WorkerError`."""
        if self._name is None:
            self._name = str(self._read("start")["name"])
        return self._name

    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, *, keep: bool = False
    ) -> list[list[float]]:
        """For each prompt the seconds from the request to each token. Raises `WorkerError`."""
        assert self._process.stdin is not None
        request = {"prompts": [list(p) for p in prompts], "max_tokens": max_tokens, "keep": keep}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._stopped() from None
        _ = self.name  # ready
        times = self._read("answer")["times"]
        assert isinstance(times, list)
        for stream in times:
            if len(stream) < max_tokens:
                found = f"{len(stream)} of {max_tokens} tokens"
                raise WorkerError(found, f"{self.engine.name} gave {found}.")
        return times

    def peak_bytes(self) -> int:
        """The most memory it had in RAM so far, mapped files included."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
        assert found is not None, "this kernel does not tell a process's peak"
        return int(found[1]) * 1024

    def _read(self, what: str) -> dict[str, object]:
        line = self._line(what)
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    def _line(self, what: str) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + self.engine.limit
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    limit = f"no {what} in {self.engine.limit:.0f} s"
                    raise WorkerError(limit, f"{self.engine.name} gave {limit}.")
                piece = self._process.stdout.read1(1 << 16)  # type: ignore[attr-defined]
                if not piece:
                    raise self._stopped()
                self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _stopped(self) -> WorkerError:
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return WorkerError("closed its output", f"{self.engine.name} closed its output.")
        self._log.seek(0)
        tail = self._log.read()[-400:].decode(errors="replace").strip().replace("\n", " | ")
        return WorkerError(
            f"stopped, code {code}", f"{self.engine.name} stopped with code {code}: {tail}"
        )
