"""Counts values by bucket."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.utils import floatToGoString


class Histogram:
    """Used on the event loop alone, so without prometheus-client's locks: at each step of the
    engine every running request adds a value."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)  # ascending; a value on a bound belongs below it
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0  # of all values

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus's buckets: each bound with the number of values up to it; the last is +Inf."""
        below, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            below += count
            name: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            buckets.append((name, float(below)))
        return buckets
