"""Interleaved rounds: every engine is asked for the same, in turn, and failures end no run."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from peer_worker import Engine, Worker, WorkerError
from peer_works import PREFILL_TOKENS, PROMPT_TOKENS, Work, random_prompt

START = "start to first token, s"
RSS = "peak RSS, MiB"
_SETTLE_SECONDS = 0.05  # the threads of the engine before may still spin


@dataclass(slots=True)
class Samples:
    """Figures and failures by (work, engine)."""

    labels: dict[str, str] = field(default_factory=dict)  # works in their order
    figures: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, work: str, engine: str, figure: float) -> None:
        self.figures.setdefault((work, engine), []).append(figure)

    def fail(self, work: str, engine: str, error: WorkerError) -> None:
        self.failures[work, engine] = error.cell
        self.notes.append(f"{self.labels[work]}: {error}")

    def rounds(self, work: str) -> int:
        """The most figures that an engine has."""
        return max(
            (len(found) for (name, _), found in self.figures.items() if name == work), default=0
        )

    def median(self, work: str, engine: str) -> float | None:
        """None where it failed or was not asked."""
        found = self.figures.get((work, engine))
        if found is None or (work, engine) in self.failures:
            return None
        return statistics.median(found)


class Seat:
    """An engine with its worker, which is started when it is needed and after a failure again,
    unless it failed before it had done anything."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._stack = ExitStack()
        self._worker: Worker | None = None
        self._hopeless: WorkerError | None = None

    def worker(self) -> Worker:
        if self._hopeless is not None:
            raise self._hopeless
        if self._worker is None:
            worker = self._stack.enter_context(Worker(self.engine))
            try:
                _ = worker.name
                worker.generate([range(1000, 5096, 64)], 8)  # warms up
            except WorkerError as error:
                self._hopeless = error
                raise
            self._worker = worker
        return self._worker

    def give_up(self, error: WorkerError) -> None:
        self._worker = None
        self._stack.__exit__(type(error), error, error.__traceback__)
        self._stack = ExitStack()

    def close(self) -> None:
        self._stack.close()


def compare(
    engines: Sequence[Engine],
    works: Sequence[Work],
    draw: random.Random,
    samples: Samples,
    *,
    rounds: int,
    deadline: float,
) -> None:
    """At least one round; none begins that would probably not end by `deadline`, which is of
    `time.monotonic()`."""
    samples.labels |= {work.name: work.label for work in works}
    kept = {work.name: work.prompts(draw) for work in works if work.same_prompt}
    seats = [Seat(engine) for engine in engines]
    try:
        begin = time.monotonic()
        for number in range(rounds):
            now = time.monotonic()
            if number and now + (now - begin) / number > deadline:
                break
            print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            seats.append(seats.pop(0))  # another goes first
            for work in works:
                prompts = kept.get(work.name) or work.prompts(draw)
                for seat in seats:
                    if number == 0 or not seat.engine.once:
                        _ask(seat, work, prompts, samples)
    finally:
        for seat in seats:
            seat.close()


def _ask(seat: Seat, work: Work, prompts: list[list[int]], samples: Samples) -> None:
    name = seat.engine.name
    if (work.name, name) in samples.failures:
        return
    try:
        worker = seat.worker()
        time.sleep(_SETTLE_SECONDS)
        figure = work.measure(worker, prompts)
    except WorkerError as error:
        seat.give_up(error)
        samples.fail(work.name, name, error)
    else:
        samples.add(work.name, name, figure)


def compare_starts(
    engines: Sequence[Engine],
    draw: random.Random,
    samples: Samples,
    *,
    rounds: int,
    names: Sequence[str],
) -> None:
    """New processes, files in the page cache: seconds from the start of a process to the first
    token of a short prompt; and, of the round before, which brings the files there, the peak of
    memory with a KV cache that is full."""
    if "rss" in names:
        samples.labels["rss"] = RSS
    if "start" in names:
        samples.labels["start"] = START
    order = list(engines)
    for number in range(rounds + 1 if "start" in names else 1):
        order.append(order.pop(0))
        short = random_prompt(draw, PROMPT_TOKENS)
        for engine in order:
            work = "start" if number or "rss" not in names else "rss"
            if (work, engine.name) in samples.failures:
                continue
            filling = _filling(engine, draw) if work == "rss" else None
            try:
                seconds, peak = _start(engine, short, filling)
            except WorkerError as error:
                samples.fail(work, engine.name, error)
                continue
            if work == "rss":
                samples.add(work, engine.name, peak / (1 << 20))
            elif number:
                samples.add(work, engine.name, seconds)


def _filling(engine: Engine, draw: random.Random) -> list[int]:
    """A prompt after which all of a KV cache is in RAM. That of llama.cpp's kin is from the start,
    as they clear it, and a prompt as long would cost them minutes."""
    context = engine.job["context"]
    assert isinstance(context, int)
    return random_prompt(draw, context - PROMPT_TOKENS if engine.lazy_kv else PREFILL_TOKENS)


def _start(engine: Engine, short: list[int], filling: list[int] | None) -> tuple[float, int]:
    with Worker(engine) as worker:
        worker.generate([short], 1)
        seconds = time.perf_counter() - worker.begin
        if filling is not None:
            worker.generate([filling], 1)
        return seconds, worker.peak_bytes()
