"""The work of a token worker for libraries with llama.cpp's C interface: batches of tokens of
several sequences in, a greedy token a sequence out; see peer_worker.py for the lines.

The C interface is called directly, as a native program would: the bindings' own `generate` copies
and sorts a vocabulary of floats a token, which costs their users up to half of a small model's
decode rate, and it cannot run several sequences.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from worker_lines import take_stdout

BATCH = 512  # tokens of one call, and of one pass over the weights
STREAMS = 16


class Library(Protocol):
    """A loaded model and its KV cache. `batch` is a llama_batch of BATCH tokens."""

    name: str
    vocabulary: int
    batch: Any

    def decode(self) -> int:
        """Computes `batch`; 0 when it could."""

    def logits(self, row: int) -> Any:
        """A pointer to the logits of the batch's token number `row`."""

    def clear(self) -> None:
        """Empties the KV cache."""

    def trim(self, length: int) -> None:
        """Keeps the first `length` tokens of sequence 0."""


@dataclass(frozen=True, slots=True)
class Row:
    """A token of a batch."""

    token: int
    position: int
    sequence: int
    wanted: bool  # its logits are


class Decoder:
    """Runs prompts side by side, one token of each a step."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: list[int] = []  # the tokens in the KV cache, where they are to be kept

    def run(
        self, prompts: Sequence[list[int]], max_tokens: int, *, keep: bool
    ) -> list[list[float]]:
        """Seconds from now to each token of each prompt."""
        start = time.perf_counter()
        tokens = self._prefill(prompts, keep=keep)
        times = [[time.perf_counter() - start] for _ in prompts]
        for step in range(max_tokens - 1):
            tokens = self._compute(
                [
                    Row(token, len(prompt) + step, sequence, wanted=True)
                    for sequence, (token, prompt) in enumerate(zip(tokens, prompts, strict=True))
                ]
            )
            now = time.perf_counter() - start
            for stream in times:
                stream.append(now)
        return times

    def _prefill(self, prompts: Sequence[list[int]], *, keep: bool) -> list[int]:
        begin = 0
        if keep and self._kept == prompts[0]:
            begin = len(prompts[0]) - 1
            self._library.trim(begin)
        else:
            self._library.clear()
        self._kept = list(prompts[0]) if keep else []
        rows = [
            Row(token, position, sequence, position == len(prompt) - 1)
            for sequence, prompt in enumerate(prompts)
            for position, token in enumerate(prompt)
            if position >= begin
        ]
        found: list[int] = []
        for place in range(0, len(rows), BATCH):
            found += self._compute(rows[place : place + BATCH])
        return found

    def _compute(self, rows: Sequence[Row]) -> list[int]:
        """The greedy tokens after the rows whose logits are wanted."""
        batch = self._library.batch
        batch.n_tokens = len(rows)
        for place, row in enumerate(rows):
            batch.token[place] = row.token
            batch.pos[place] = row.position
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = row.sequence
            batch.logits[place] = row.wanted
        code = self._library.decode()
        if code != 0:
            raise RuntimeError(f"a batch of {len(rows)} tokens failed with code {code}")
        return [self._greedy(place) for place, row in enumerate(rows) if row.wanted]

    def _greedy(self, row: int) -> int:
        shape = (self._library.vocabulary,)
        return int(np.ctypeslib.as_array(self._library.logits(row), shape).argmax())


def serve(load: Callable[[dict[str, Any]], Library]) -> None:
    """The loop of a worker: its job is in the first argument, requests come line by line."""
    lines = take_stdout()
    library = load(json.loads(sys.argv[1]))
    decoder = Decoder(library)
    print(json.dumps({"name": library.name}), file=lines)
    for line in sys.stdin:
        request = json.loads(line)
        times = decoder.run(request["prompts"], request["max_tokens"], keep=request["keep"])
        print(json.dumps({"times": times}), file=lines)
