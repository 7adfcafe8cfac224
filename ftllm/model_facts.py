"""What operators want to know about a loaded model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    isa: str  # whose kernels run
    threads: int
    weight_formats: Sequence[str]
    kv_dtype: str
    kv_block_size: int  # tokens
    prefix_caching: bool
    startup_seconds: Mapping[str, float]  # by phase, in order


class PhaseClock:
    """Times the phases of starting."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started
