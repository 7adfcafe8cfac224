"""What `ftllm bench` prints: a table for people, or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.table import Table

import ftllm
from ftllm.cli.load_test import LoadPlan, LoadResult
from ftllm.cli.speed_test import SpeedResult
from ftllm.cli.spread import Spread


def print_speed(
    name: str,
    summary: Sequence[str],
    results: Sequence[SpeedResult],
    repetitions: int,
    *,
    as_json: bool,
) -> None:
    if as_json:
        rows = [_flat(dataclasses.asdict(result)) for result in results]
        content = {"model": name, "summary": list(summary), "repetitions": repetitions}
        _print_json({**content, "results": rows})
        return
    table = Table(title=f"{name}: medians of {repetitions} runs ± half their range")
    for heading in ("prompt", "depth", "batch", "prefill tok/s", "TTFT ms", "decode tok/s"):
        table.add_column(heading, justify="right")
    table.add_column("ITL p50 ms", justify="right")
    table.add_column("ITL p95 ms", justify="right")
    for result in results:
        table.add_row(
            str(result.case.prompt),
            str(result.case.depth),
            str(result.case.batch),
            _spread(result.prefill_rate),
            _spread(result.first_token, factor=1000),
            _spread(result.decode_rate),
            _number(1000 * result.gap_p50),
            _number(1000 * result.gap_p95),
        )
    _print_table(table)


def print_load(url: str, plan: LoadPlan, result: LoadResult, *, as_json: bool) -> None:
    if as_json:
        content = {"url": url, "plan": dataclasses.asdict(plan)}
        _print_json({**content, "results": [_flat(dataclasses.asdict(result))]})
        return
    title = f"{result.model} at {url}, {plan.concurrency} clients"
    table = Table(title=title, show_header=False, min_width=len(title))
    table.add_column()
    table.add_column(justify="right")
    answered = result.requests - result.failed
    for label, value in (
        ("requests answered", f"{answered} of {result.requests} in {result.seconds:.1f} s"),
        ("tokens of a prompt", _number(result.prompt_tokens / answered)),
        ("tokens of an answer", _number(result.output_tokens / answered)),
        ("output tok/s", _number(result.output_rate)),
        ("prompt and output tok/s", _number(result.total_rate)),
        ("TTFT p50 / p95 ms", _pair(result.first_token_p50, result.first_token_p95)),
        ("ITL p50 / p95 ms", _pair(result.gap_p50, result.gap_p95)),
        ("whole answer p50 / p95 ms", _pair(result.request_p50, result.request_p95)),
    ):
        table.add_row(label, value)
    _print_table(table)
    if result.first_error is not None:
        typer.echo(f"{result.failed} requests failed; the first: {result.first_error}", err=True)


def _print_table(table: Table) -> None:
    console = Console()
    if not console.is_terminal:  # a file or a pipe: as wide as the table needs
        console = Console(width=160)
    console.print(table)


def _print_json(content: Mapping[str, object]) -> None:
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
    }
    versions = {"ftllm": ftllm.__version__, "machine": machine}
    typer.echo(json.dumps({**versions, **content}, indent=2))


def _flat(record: Mapping[str, object]) -> dict[str, object]:
    """Numbers that are not there are null: JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in record.items()
    }


def _spread(spread: Spread, *, factor: float = 1.0) -> str:
    return f"{_number(factor * spread.median)} ±{spread.percent:.0f} %"


def _pair(p50: float, p95: float) -> str:
    return f"{_number(1000 * p50)} / {_number(1000 * p95)}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
