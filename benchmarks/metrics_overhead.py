"""What metrics cost: microseconds at each step of the engine, beside how long a step takes.

    python benchmarks/metrics_overhead.py [MODEL] [--models_file FILE] [--threads N] [--json]

"engine's thread" is what the engine's own thread does more, "event loop" what the server's loop
does more; both take the GIL. Every stream gets a token at every step. "scrape" is one answer of
/metrics, which the event loop writes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from engine_step import decode
from prometheus_client import CollectorRegistry, generate_latest
from report import print_report
from timed_engine import timed_engine

from ftllm.engine.request import Event, TokensEvent
from ftllm.engine.step_log import StepLog
from ftllm.loading import LoadOptions, load_model
from ftllm.progress import SilentProgress
from ftllm.server.metrics.collector import ModelCollector
from ftllm.server.metrics.request_metrics import RequestMetrics

STREAMS = (1, 16, 64)
ROUNDS = 15
STEPS = 400  # in a round


def seconds_per_step(step: Callable[[], object]) -> float:
    """The median of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        rounds.append((time.perf_counter() - started) / STEPS)
    return statistics.median(rounds)


def on_the_engines_thread(streams: int) -> float:
    """Its time with metrics less that without: a look at the clock for each stream and a longer
    tuple, two more for the step, and the step's entry in the log."""
    events: list[Event] = []
    inbox: deque[tuple[object, ...]] = deque(maxlen=streams)
    log = StepLog()

    def timed() -> None:
        started = time.monotonic()
        for place in range(streams):
            inbox.append((place, events, time.monotonic()))
        log.add_step(time.monotonic() - started, streams)

    def bare() -> None:
        for place in range(streams):
            inbox.append((place, place, events))

    return seconds_per_step(timed) - seconds_per_step(bare)


def on_the_event_loop(streams: int) -> float:
    metrics = RequestMetrics(max_model_len=8192)
    watches = [metrics.watch(None) for _ in range(streams)]
    events: list[Event] = [TokensEvent("r", (1,), None)]
    log = StepLog()

    def observe() -> None:
        for watch in watches:
            watch.observe(events, time.monotonic(), stopped=False)
        log.add_step(0.01, streams)
        metrics.add_steps(log.take())

    return seconds_per_step(observe)


def scrape_seconds(model: str | None, models_file: Path | None) -> float:
    loaded = load_model(
        LoadOptions(model=model, models_file=models_file, tokens=4096), progress=SilentProgress()
    )
    registry = CollectorRegistry()
    metrics = RequestMetrics(max_model_len=loaded.max_model_len)
    registry.register(ModelCollector(loaded, metrics, prefix="ftllm"))
    return min(_seconds(lambda: generate_latest(registry)) for _ in range(50))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--models_file", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with timed_engine(
        options.model, models_file=options.models_file, threads=options.threads, tokens=16384
    ) as engine:
        for streams in STREAMS:
            engine.executor.steps.clear()
            step = statistics.median(step.end - step.begin for step in decode(engine, streams))
            engine_side, loop_side = on_the_engines_thread(streams), on_the_event_loop(streams)
            rows.append(
                {
                    "streams": streams,
                    "step, ms": round(step * 1e3, 2),
                    "engine's thread, us": round(engine_side * 1e6, 2),
                    "event loop, us": round(loop_side * 1e6, 2),
                    "of a step, %": round(100 * (engine_side + loop_side) / step, 3),
                }
            )
    scrape = scrape_seconds(options.model, options.models_file)
    print_report(
        "Cost of metrics at each decode step",
        rows,
        as_json=options.json,
        notes=[f"scrape: {scrape * 1e3:.1f} ms"],
    )


if __name__ == "__main__":
    main()
