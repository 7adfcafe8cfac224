"""How long streams wait for their next token when a long prompt arrives.

    python benchmarks/long_prompt_gap.py [MODEL] [--prompt_tokens 6000] [--streams 8] [--json]

Prints the gaps between two tokens of a stream before the prompt arrives, while it is read, and
afterwards, each beside the longest engine step of that phase: the most that a stream should wait.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from report import percentile, print_report
from timed_engine import Stream, TimedEngine, timed_engine

QUIET_TOKENS = 40  # tokens of each stream before the prompt, and after it
PROMPT_TOKENS = 16  # of the streams
ENDLESS = 2000  # tokens; the streams are stopped, not run to their end


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time, `time.perf_counter()` seconds."""

    name: str
    begin: float
    end: float


def run(engine: TimedEngine, *, streams: int, prompt_tokens: int) -> list[dict[str, object]]:
    short = [engine.send(engine.prompt(PROMPT_TOKENS), max_tokens=ENDLESS) for _ in range(streams)]
    for stream in short:
        stream.started.wait()
    begin = time.perf_counter()
    _wait_for_tokens(short, QUIET_TOKENS)
    long = engine.send(engine.prompt(prompt_tokens), max_tokens=1)
    long.wait()
    _wait_for_tokens(short, QUIET_TOKENS)
    phases = (
        Phase("before", begin, long.sent),
        Phase("during", long.sent, long.times[0]),
        Phase("after", long.times[0], time.perf_counter()),
    )
    return [_row(engine, short, phase) for phase in phases]


def _wait_for_tokens(streams: list[Stream], count: int) -> None:
    wanted = [len(stream.times) + count for stream in streams]
    pause = threading.Event()  # sleeps without holding the GIL from the engine
    while any(len(s.times) < w for s, w in zip(streams, wanted, strict=True)):
        pause.wait(0.005)


def _row(engine: TimedEngine, streams: list[Stream], phase: Phase) -> dict[str, object]:
    gaps = [
        after - before
        for stream in streams
        for before, after in pairwise(stream.times)
        if phase.begin < after <= phase.end
    ]
    steps = [
        step
        for step in list(engine.executor.steps)
        if phase.begin < step.end <= phase.end + 0.001  # the last token came after its step
    ]
    longest = max(step.end - step.begin for step in steps)
    return {
        "phase": phase.name,
        "seconds": round(phase.end - phase.begin, 2),
        "tokens": len(gaps),
        "median gap ms": round(1e3 * statistics.median(gaps), 1),
        "p95 gap ms": round(1e3 * percentile(gaps, 0.95), 1),
        "worst gap ms": round(1e3 * max(gaps), 1),
        "longest step ms": round(1e3 * longest, 1),
        "gap / step": round(max(gaps) / longest, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--prompt_tokens", type=int, default=6000)
    parser.add_argument("--max_batched_tokens", type=int, default=512)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with timed_engine(
        options.model,
        models_file=options.models_file,
        threads=options.threads,
        tokens=options.prompt_tokens + (options.streams + 1) * 640,
        max_batched_tokens=options.max_batched_tokens,
    ) as engine:
        rows = run(engine, streams=options.streams, prompt_tokens=options.prompt_tokens)
    title = f"{options.streams} streams, and a prompt of {options.prompt_tokens} tokens"
    print_report(title, rows, as_json=options.json)


if __name__ == "__main__":
    main()
