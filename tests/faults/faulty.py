"""A server under test: its switches, and what a test looks at from outside."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families
from running_server import RunningServer

FAULTY_SERVER = Path(__file__).with_name("faulty_server.py")
PATIENCE = 20.0  # seconds after which what should happen does not
PROMPT = "Once upon a time"


class StartServer(Protocol):
    def __call__(self, *options: str, port: int = 0) -> AbstractContextManager[FaultyServer]: ...


@dataclass(frozen=True, slots=True)
class FaultyServer:
    process: RunningServer
    folder: Path  # of its switches

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def switch(self, name: str, value: float) -> None:
        partial = self.folder / f"{name}.new"
        partial.write_text(str(value))
        partial.replace(self.folder / name)

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": "Bearer admin"}
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30)

    def complete(self, prompt: str = PROMPT, *, max_tokens: int = 16) -> httpx.Response:
        """Greedy, of exactly `max_tokens` tokens, not streamed."""
        body = body_of(prompt, max_tokens=max_tokens)
        return httpx.post(f"{self.url}/v1/completions", json=body, timeout=60)

    def text(self, prompt: str = PROMPT, *, max_tokens: int = 16) -> str:
        answer = self.complete(prompt, max_tokens=max_tokens)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["text"])

    def engine(self) -> dict[str, float]:
        """The engine's statistics."""
        figures: dict[str, float] = self.get("/server_info").json()["engine"]
        return figures

    def metrics(self) -> dict[tuple[str, str], float]:
        """(name, finish reason or upper bound) to value."""
        samples = {}
        for family in text_string_to_metric_families(self.get("/metrics").text):
            for sample in family.samples:
                labels = sample.labels
                label = labels.get("finished_reason") or labels.get("le") or ""
                samples[sample.name, label] = sample.value
        return samples

    def wait_until_idle(self) -> None:
        """Fails unless every request leaves, with the KV blocks that it held."""
        deadline = time.monotonic() + PATIENCE
        while True:
            info = self.get("/server_info").json()
            engine = info["engine"]
            left = {name: engine[name] for name in ("running", "waiting", "kv_blocks_used")}
            left["in_flight"] = info["in_flight"]
            if not any(left.values()):
                return
            assert time.monotonic() < deadline, f"the server does not come to rest: {left}"
            time.sleep(0.05)

    def wait_for_log(self, part: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while part not in self.process.log():
            assert time.monotonic() < deadline, self.process.log()[-3000:]
            time.sleep(0.02)

    @property
    def files(self) -> int:
        """Open descriptors of the process."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def settled_files(self) -> int:
        """The same, when what was closed a moment ago has gone."""
        lowest, since = self.files, time.monotonic()
        while time.monotonic() - since < 0.3:
            time.sleep(0.02)
            if self.files < lowest:
                lowest, since = self.files, time.monotonic()
        return lowest

    def wait_for_files(self, least: int, most: int) -> None:
        """Fails unless the number of open descriptors comes to lie between these."""
        deadline = time.monotonic() + PATIENCE
        while not least <= self.files <= most:
            assert time.monotonic() < deadline, f"{self.files} descriptors, not {least} to {most}"
            time.sleep(0.05)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def body_of(prompt: str, *, max_tokens: int, stream: bool = False) -> dict[str, object]:
    return {
        "prompt": prompt,
        "max_tokens": max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": stream,
    }
