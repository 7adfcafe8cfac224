"""Linear kernels of every weight format, as shares of what the machine can do at most.

    python benchmarks/kernels.py [--isa avx2,avx512vnni] [--formats q8_0,q4_0] [--json]

For each format, shape and number of rows M: weight bytes a second (GB/s) beside the machine's read
bandwidth, and multiplications plus additions a second (GOPS) beside its bare arithmetic, float32
for float formats and int8 or int4 for the others. The limits are measured in the same run, in turn
with the kernels; of each round's three passes the best counts, and of the rounds the median. The
weights of all cases together are more than the caches hold, so M = 1 reads them from memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from report import print_report

from ftllm import _core
from ftllm.engine.machine import default_threads

# (N, K) of the layers of a Qwen3-0.6B: q, k and v together, o, gate and up together, down, logits.
SHAPES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "qkv": (4096, 1024),
        "o": (1024, 2048),
        "gate_up": (6144, 1024),
        "down": (1024, 3072),
        "head": (151_936, 1024),
    }
)
FORMATS = ("bf16", "f16", "q8_0", "q4_0", "q4_k", "q6_k", "int8", "int4g128")
ROWS = (1, 8, 16, 512)
_FLOATS = ("f32", "f16", "bf16")
_COLD_ROWS = 16  # with more rows a product does not wait for memory: one copy will do
_INT4 = ("q4_", "int4", "q5_", "q6_")  # formats whose codes have fewer than 8 bits
_LIMIT_SECONDS = 0.05
_BARRIERS = 1000  # loops of one measurement
_SOURCE_ROWS = 256  # random values are made for this many rows, then repeated
_LEAST_SECONDS = 0.005  # a try that is shorter is repeated
_PASSES = 3  # in a round: another process may take the processor during one
_CASE_BYTES = 64 << 20  # weights of a case, at least: M = 1 must take long enough to be measured
_COLD_BYTES = 640 << 20  # read between two measurements of a case: more than any cache


@dataclass(frozen=True, slots=True)
class Case:
    """Copies of one matrix, used in turn."""

    format: str
    shape: str
    weights: tuple[_core.Weight, ...]

    @property
    def limit(self) -> str:
        if self.format in _FLOATS:
            return "float32"
        return "int4" if self.format.startswith(_INT4) else "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    formats: Sequence[str]
    shapes: Sequence[str]
    rows: Sequence[int]
    rounds: int
    threads: int


def make_case(name: str, shape: str, pool: _core.ThreadPool, size: int) -> Case:
    rows, columns = SHAPES[shape]
    rng = np.random.default_rng(0)
    values = rng.standard_normal((_SOURCE_ROWS, columns)).astype(np.float32)
    data = memoryview(np.resize(values, (rows, columns))).cast("B")
    weights: list[_core.Weight] = []
    while sum(weight.nbytes for weight in weights) < size:
        weight = _core.Weight(format=name, rows=rows, columns=columns)
        weight.fill(first_row=0, count=rows, source="f32", data=data, pool=pool)
        weights.append(weight)
    return Case(name, shape, tuple(weights))


def readable(size: int, pool: _core.ThreadPool) -> _core.Weight:
    """One matrix of `size` bytes, to measure how fast memory can be read."""
    columns = 1024
    step = _SOURCE_ROWS * 16
    rows = -(-size // (4 * columns * step)) * step
    values = np.random.default_rng(0).standard_normal((step, columns)).astype(np.float32)
    weight = _core.Weight(format="f32", rows=rows, columns=columns)
    for first in range(0, rows, step):
        data = memoryview(values).cast("B")
        weight.fill(first_row=first, count=step, source="f32", data=data, pool=pool)
    return weight


def linear_seconds(case: Case, rows: int, pool: _core.ThreadPool) -> float:
    """Of one product; weights are taken in turn, so that each was last used long ago."""
    columns = SHAPES[case.shape][1]
    x = np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)
    run = case.weights if rows <= _COLD_ROWS else case.weights[:1]
    total, products = 0.0, 0
    while total < _LEAST_SECONDS:
        total += _core.timing.linear_seconds(weights=run, x=x, pool=pool)
        products += len(run)
    return total / products


def limits(memory: _core.Weight, pool: _core.ThreadPool) -> dict[str, float]:
    """Operations, or bytes read, a second."""
    found = {
        kind: _core.timing.arithmetic_rate(kind=kind, pool=pool, seconds=_LIMIT_SECONDS)
        for kind in ("float32", "int8", "int4")
    }
    seconds = _core.timing.read_seconds(weights=[memory], pool=pool)
    found["read"] = memory.nbytes / seconds
    return found


def barrier_seconds(pool: _core.ThreadPool) -> float:
    """Of a parallel loop whose items do nothing, one right after the other."""
    return _core.timing.barrier_seconds(pool=pool, items=8 * pool.size, loops=_BARRIERS)


def measure(options: Options) -> list[dict[str, object]]:
    """Rounds in turn over limits and cases, so that a slow minute hits all."""
    pool = _core.ThreadPool(options.threads)
    count = len(options.shapes) * len(options.formats)
    case_bytes = max(_CASE_BYTES, _COLD_BYTES // count)
    cases = [
        make_case(name, shape, pool, case_bytes)
        for shape in options.shapes
        for name in options.formats
    ]
    memory = readable(_COLD_BYTES, pool)
    barriers: list[float] = []
    passes: list[dict[str, float]] = []
    times: dict[tuple[int, int], list[float]] = {}
    for _ in range(_PASSES * options.rounds):
        passes.append(limits(memory, pool))
        barriers.append(barrier_seconds(pool))
        for index, case in enumerate(cases):
            for rows in options.rows:
                times.setdefault((index, rows), []).append(linear_seconds(case, rows, pool))
    peaks = {kind: _best_of_rounds([-one[kind] for one in passes]) for kind in passes[0]}
    table = [_barrier_row(_best_of_rounds(barriers), options)]
    table += [_limit_row(kind, [-rate for rate in rates], options) for kind, rates in peaks.items()]
    tops = {kind: -statistics.median(rates) for kind, rates in peaks.items()}
    for (index, rows), seconds in times.items():
        table.append(_row(cases[index], rows, _best_of_rounds(seconds), tops, options))
    return table


def _best_of_rounds(values: Sequence[float]) -> list[float]:
    """The least of every round's passes."""
    return [min(values[at : at + _PASSES]) for at in range(0, len(values), _PASSES)]


def _barrier_row(seconds: Sequence[float], options: Options) -> dict[str, object]:
    blank = dict.fromkeys(("GB/s", "% of read", "GOPS", "% of peak"), "")
    return {
        "isa": _core.isa(),
        "threads": options.threads,
        "case": "empty parallel loop",
        "M": "",
        "us": round(statistics.median(seconds) * 1e6, 2),
        **blank,
        "spread %": _spread(seconds),
    }


def _limit_row(kind: str, rates: Sequence[float], options: Options) -> dict[str, object]:
    rate = round(statistics.median(rates) / 1e9, 1)
    return {
        "isa": _core.isa(),
        "threads": options.threads,
        "case": "limit: read" if kind == "read" else f"limit: {kind}",
        "M": "",
        "us": "",
        "GB/s": rate if kind == "read" else "",
        "% of read": 100 if kind == "read" else "",
        "GOPS": "" if kind == "read" else rate,
        "% of peak": "" if kind == "read" else 100,
        "spread %": _spread(rates),
    }


def _row(
    case: Case,
    rows: int,
    seconds: Sequence[float],
    tops: Mapping[str, float],
    options: Options,
) -> dict[str, object]:
    n, k = SHAPES[case.shape]
    size, operations = case.weights[0].nbytes, 2 * rows * n * k
    median = statistics.median(seconds)
    return {
        "isa": _core.isa(),
        "threads": options.threads,
        "case": f"{case.format} {case.shape} {n}x{k}",
        "M": rows,
        "us": round(median * 1e6, 1),
        "GB/s": round(size / median / 1e9, 2),
        "% of read": round(100 * size / median / tops["read"], 1),
        "GOPS": round(operations / median / 1e9, 1),
        "% of peak": round(100 * operations / median / tops[case.limit], 1),
        "spread %": _spread(seconds),
    }


def _spread(values: Sequence[float]) -> int:
    """Between the extremes, in percent of the median."""
    return round(100 * (max(values) - min(values)) / statistics.median(values))


def measure_isas(isas: Sequence[str]) -> list[dict[str, object]]:
    """Each instruction set in a process of its own: a process has one."""
    rows: list[dict[str, object]] = []
    for isa in isas:
        print(f"measuring {isa}", file=sys.stderr)
        result = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--isa=", "--json"],
            env={**os.environ, "FTLLM_ISA": isa},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise SystemExit(f"{isa}: {result.stderr.strip().splitlines()[-1]}")
        rows += json.loads(result.stdout)["rows"]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--isa", type=_names, default=[], help="default: the best one here")
    parser.add_argument("--formats", type=_names, default=list(FORMATS))
    parser.add_argument("--shapes", type=_names, default=["gate_up", "down"])
    parser.add_argument("--rows", type=_numbers, default=list(ROWS), metavar="M,M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    for name, values, known in (
        ("format", given.formats, _core.weight_formats()),
        ("shape", given.shapes, list(SHAPES)),
    ):
        for value in values:
            if value not in known:
                parser.error(f"{name} is {value!r}; known are {', '.join(known)}")
    options = Options(
        formats=given.formats,
        shapes=given.shapes,
        rows=given.rows,
        rounds=given.rounds,
        threads=given.threads,
    )
    rows = measure_isas(given.isa) if given.isa else measure(options)
    print_report("Linear kernels", rows, as_json=given.json)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
