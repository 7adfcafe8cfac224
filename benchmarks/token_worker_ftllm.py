"""Generates tokens with ftllm's engine; see peer_worker.py for the lines that it speaks."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial

from ftllm import LLM, __version__, _core
from ftllm.engine.engine import Engine
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request, TokensEvent


class Decoder:
    """Sends prompts to an engine as the server does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count()

    def run(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[float]]:
        """Seconds from now to each token of each prompt."""
        start = time.perf_counter()
        times: list[list[float]] = [[] for _ in prompts]
        failures: list[str] = []
        left = threading.Semaphore(0)

        def take(stream: list[float], events: list[Event]) -> None:
            now = time.perf_counter() - start
            for event in events:
                if isinstance(event, TokensEvent):
                    stream += [now] * len(event.token_ids)
                elif isinstance(event, FinishedEvent):
                    if event.reason is not FinishReason.LENGTH:
                        failures.append(event.error or event.reason.value)
                    left.release()

        params = SamplingParams(temperature=0.0, max_tokens=max_tokens)  # and no stop token
        for prompt, stream in zip(prompts, times, strict=True):
            request = Request(
                request_id=str(next(self._numbers)), prompt_ids=tuple(prompt), params=params
            )
            self._engine.submit(request, partial(take, stream))
        for _ in prompts:
            left.acquire()
        if failures:
            raise RuntimeError(f"a request failed: {failures[0]}")
        return times


def main() -> None:
    job = json.loads(sys.argv[1])
    with LLM(
        job["model"],
        dtype=job["dtype"],
        threads=job["threads"],
        tokens=job["context"],
        max_batch=job.get("max_batch", 64),
        kv_cache_dtype="float16",  # as the peers
        progress=False,
    ) as llm:
        decoder = Decoder(llm.loaded.engine)
        name = f"ftllm {__version__} ({_core.isa()})"
        print(json.dumps({"name": name}), flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            times = decoder.run(request["prompts"], request["max_tokens"])
            print(json.dumps({"times": times}), flush=True)


if __name__ == "__main__":
    main()
