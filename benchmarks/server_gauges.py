"""What a server tells of itself while it runs: /health and /metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """At one moment."""

    running: float  # requests
    waiting: float
    kv_blocks_used: float
    preemptions: float
    files: float  # open descriptors of the process
    memory: float  # resident bytes


async def read_gauges(url: str) -> Gauges:
    """Over connections of their own, which are closed again."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        health = (await client.get("/health")).json()
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        text = (await client.get("/metrics")).raise_for_status().text
    values = {
        sample.name.partition(":")[2] or sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Gauges(
        running=health["running"],
        waiting=health["waiting"],
        kv_blocks_used=health["kv_blocks_used"],
        preemptions=values["num_preemptions_total"],
        files=values["process_open_fds"],
        memory=values["process_resident_memory_bytes"],
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares; 0.0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    square = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / square
