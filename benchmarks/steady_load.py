"""Clients that ask again and again, and what became of each request."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import dataclass
from types import TracebackType

import httpx

REQUEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request without a complete answer."""

    started: bool  # the head of an answer had come, so nobody could ask another replica
    reason: str


class SteadyLoad:
    """`clients` threads in a `with` block, half of whose requests are streams.

    A prompt is of its own, so that a cache-aware router has no favourite for it.
    """

    def __init__(self, url: str, *, model: str, clients: int, max_tokens: int = 12) -> None:
        self._url = url
        self._model = model
        self._max_tokens = max_tokens
        self._over = threading.Event()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask_again) for _ in range(clients)]
        self.completed = 0
        self.failures: list[Failure] = []

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, *, seconds: float) -> None:
        """Returns when `more` further requests have come to an end."""
        deadline = time.monotonic() + seconds
        goal = self._ended() + more
        while self._ended() < goal:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {more} requests came to an end in {seconds} s")
            time.sleep(0.05)

    def _ended(self) -> int:
        return self.completed + len(self.failures)

    def _ask_again(self) -> None:
        with httpx.Client(base_url=self._url, timeout=REQUEST_SECONDS, trust_env=False) as client:
            while not self._over.is_set():
                number = next(self._numbers)
                body = {
                    "model": self._model,
                    "prompt": f"{number} lamps were lit that night, and",
                    "max_tokens": self._max_tokens,
                    "ignore_eos": True,
                    "stream": number % 2 == 0,
                }
                failure = stream(client, body) if body["stream"] else complete(client, body)
                with self._lock:
                    if failure is None:
                        self.completed += 1
                    else:
                        self.failures.append(failure)


def complete(client: httpx.Client, body: dict[str, object]) -> Failure | None:
    """Asks for a whole answer."""
    try:
        response = client.post("/v1/completions", json=body)
    except httpx.HTTPError as error:
        return Failure(started=False, reason=repr(error))
    if response.status_code != 200:
        return Failure(started=False, reason=f"{response.status_code} {response.text[:300]}")
    return None


def stream(client: httpx.Client, body: dict[str, object]) -> Failure | None:
    """Asks for a stream and reads it to its end."""
    started = done = False  # the head comes before the first token does
    try:
        with client.stream("POST", "/v1/completions", json=body) as response:
            if response.status_code != 200:
                text = response.read().decode(errors="replace")
                return Failure(started=False, reason=f"{response.status_code} {text[:300]}")
            started = True
            for line in response.iter_lines():
                data = line.removeprefix("data: ")
                done = done or data == "[DONE]"
                if line.startswith("data: {") and "error" in json.loads(data):
                    return Failure(started=True, reason=data[:300])
    except httpx.HTTPError as error:
        return Failure(started=started, reason=repr(error))
    return None if done else Failure(started=started, reason="the stream ended without [DONE]")
