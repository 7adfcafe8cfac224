"""Prefill and decode tokens/s of the engine alone, and Python's share of a step.

    python benchmarks/engine_step.py [MODEL] [--threads N] [--rounds 5] [--json]

"Python" is the time between two steps in which the C++ side does not compute: scheduling, events,
the engine's loop. Its share of a step, and how long it is.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from report import print_report
from timed_engine import Step, TimedEngine, timed_engine

PREFILL_TOKENS = 512
PROMPT_TOKENS = 16  # before a decode
DECODE_TOKENS = 64
STREAMS = (1, 4, 8, 16)


def prefill(engine: TimedEngine) -> list[Step]:
    engine.send(engine.prompt(PREFILL_TOKENS), max_tokens=1).wait()
    return engine.executor.steps


def decode(engine: TimedEngine, streams: int) -> list[Step]:
    """The steps in which all streams decode together."""
    sent = [
        engine.send(engine.prompt(PROMPT_TOKENS), max_tokens=DECODE_TOKENS) for _ in range(streams)
    ]
    for stream in sent:
        stream.wait()
    return [step for step in engine.executor.steps if step.rows == step.sequences == streams]


def measure(engine: TimedEngine, rounds: int) -> list[dict[str, object]]:
    """Rounds in turn over all cases, so that a slow minute hits each; medians of the rounds."""
    rates: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    gaps: dict[str, list[float]] = {}  # microseconds a step
    prefill(engine)  # warms up
    for _ in range(rounds):
        engine.executor.steps.clear()
        (step,) = prefill(engine)
        rates.setdefault(f"prefill {PREFILL_TOKENS}", []).append(
            PREFILL_TOKENS / (step.end - step.begin)
        )
        for streams in STREAMS:
            engine.executor.steps.clear()
            steps = decode(engine, streams)
            wall = steps[-1].end - steps[0].end
            computing = sum(step.end - step.begin for step in steps[1:])
            name = f"decode, {streams} stream{'s' if streams > 1 else ''}"
            rates.setdefault(name, []).append(streams * (len(steps) - 1) / wall)
            shares.setdefault(name, []).append(1 - computing / wall)
            gaps.setdefault(name, []).append(1e6 * (wall - computing) / (len(steps) - 1))
    return [
        {
            "case": name,
            "tokens/s": round(statistics.median(values), 1),
            "worst": round(min(values), 1),
            "best": round(max(values), 1),
            "Python %": round(100 * statistics.median(shares[name]), 1) if name in shares else "-",
            "Python, us": round(statistics.median(gaps[name])) if name in gaps else "-",
        }
        for name, values in rates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with timed_engine(
        options.model, models_file=options.models_file, threads=options.threads, tokens=4096
    ) as engine:
        rows = measure(engine, options.rounds)
    print_report("Engine steps", rows, as_json=options.json)


if __name__ == "__main__":
    main()
