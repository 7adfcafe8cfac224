"""What peers reached beside llama.cpp when they were measured together, and what ftllm is to reach.

The rates were recorded in interleaved runs on a virtual machine of 2 cores with AVX2 and without
VNNI (2 threads, llama.cpp 0c1e57098, ik_llama.cpp 8337e4cd with and without its run-time repack):
believe the ratios. They serve where ik_llama.cpp itself is not part of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Record:
    """Tokens/s."""

    llama_cpp: float
    best: float  # of all peers, llama.cpp included

    @property
    def ratio(self) -> float:
        return self.best / self.llama_cpp


RECORDS: Mapping[tuple[str, str], Record] = MappingProxyType(
    {
        ("smollm2-135m", "prefill"): Record(183, 602),
        ("smollm2-135m", "decode"): Record(102, 127),
        ("0.6b-bf16", "prefill"): Record(97, 101),
        ("0.6b-bf16", "decode"): Record(14.4, 14.4),
        ("0.6b-bf16", "4 streams"): Record(34, 37),
        ("0.6b-bf16", "8 streams"): Record(47, 48),
        ("0.6b-bf16", "16 streams"): Record(54, 56),
        ("0.6b-q8_0", "prefill"): Record(94, 134),
        ("0.6b-q8_0", "decode"): Record(22.1, 28.6),
        ("0.6b-q8_0", "4 streams"): Record(37, 74),
        ("0.6b-q8_0", "8 streams"): Record(50, 87),
        ("0.6b-q8_0", "16 streams"): Record(58, 88),
        ("0.6b-q8_0", "depth"): Record(6.7, 6.7),
        ("0.6b-q4_0", "prefill"): Record(104, 146),
        ("0.6b-q4_0", "decode"): Record(33.0, 39.6),
        ("0.6b-q4_0", "4 streams"): Record(52, 80),
        ("0.6b-q4_0", "8 streams"): Record(49, 84),
        ("0.6b-q4_0", "16 streams"): Record(67, 94),
        ("0.6b-q4_k_m", "prefill"): Record(106, 160),
        ("0.6b-q4_k_m", "decode"): Record(35.7, 36.5),
        ("moe-q8_0", "prefill"): Record(120, 211),
        ("moe-q8_0", "decode"): Record(35.0, 36.4),
        ("moe-q4_0", "prefill"): Record(165, 264),
        ("moe-q4_0", "decode"): Record(52.2, 57.5),
    }
)


@dataclass(frozen=True, slots=True)
class Target:
    """Ratios that ftllm is to reach."""

    llama_cpp: float
    best: float  # beside the best peer


_STREAMS = Target(2.5, 1.6)
_DEPTH = Target(1.3, 1.15)
_TARGETS: Mapping[str, Mapping[str, Target]] = MappingProxyType(
    {
        "4-bit": {"prefill": Target(2.2, 1.5), "decode": Target(1.2, 1.05)},
        "8-bit": {"prefill": Target(2.2, 1.5), "decode": Target(1.15, 1.0)},
        "bf16": {"prefill": Target(1.6, 1.5), "decode": Target(1.15, 1.0)},
        "moe": {
            "prefill": Target(2.2, 1.4),
            "decode": Target(1.15, 1.05),
            "8 streams": Target(2.0, 1.5),
        },
    }
)


def target(kind: str, work: str) -> Target | None:
    """`kind`: "4-bit", "8-bit", "bf16" or "moe"; None where nothing was set."""
    if kind != "moe" and work in ("8 streams", "16 streams"):
        return _STREAMS
    if kind != "moe" and work == "depth":
        return _DEPTH
    return _TARGETS[kind].get(work)
