"""The table of benchmarks/peers.py."""

from __future__ import annotations

from collections.abc import Sequence

from peer_models import PeerModel
from peer_records import RECORDS, target
from peer_rounds import Samples

OURS = "ftllm"
REFERENCE = "llama.cpp"
_NOTHING = "-"
_FALLING = ("start", "rss")  # where less is better


def rows(model: PeerModel, samples: Samples, columns: Sequence[str]) -> list[dict[str, object]]:
    """One a work. `columns`: the engines, ftllm first. A ratio above 1 means that ftllm is ahead,
    for rates and for times."""
    return [_row(model, samples, work, columns) for work in samples.labels]


def _row(
    model: PeerModel, samples: Samples, work: str, columns: Sequence[str]
) -> dict[str, object]:
    row: dict[str, object] = {"model": model.name, "work": samples.labels[work]}
    for engine in columns:
        median = samples.median(work, engine)
        failure = samples.failures.get((work, engine), _NOTHING)
        row[engine] = failure if median is None else _rounded(median)
    ahead = {
        engine: ratio
        for engine in columns[1:]
        if (ratio := _ahead(samples, work, engine)) is not None
    }
    reference = max(
        (engine for engine in ahead if engine.split(":")[0] == REFERENCE),
        key=lambda engine: -ahead[engine],
        default=None,
    )
    base = None if reference is None else ahead[reference]
    best = min(ahead.values(), default=None)
    record = RECORDS.get((_record_name(model.name), work))
    recorded = None if record is None or base is None else base / record.ratio
    row["rounds"] = samples.rounds(work)
    row["x llama.cpp"] = _cell(base)
    row["x best here"] = _cell(best)
    row["x best recorded"] = _cell(recorded)
    beside_best = best if any(name.startswith("ik") for name in ahead) else recorded
    row |= _verdict(model.kind, work, base, beside_best)
    return row


def _ahead(samples: Samples, work: str, engine: str) -> float | None:
    ours, theirs = samples.median(work, OURS), samples.median(work, engine)
    if ours is None or theirs is None:
        return None
    return theirs / ours if work in _FALLING else ours / theirs


def _verdict(kind: str, work: str, base: float | None, best: float | None) -> dict[str, object]:
    wanted = target(kind, work)
    if wanted is None:
        return {"target": _NOTHING, "met": _NOTHING}
    verdict = _NOTHING
    if base is not None and best is not None:
        verdict = "yes" if base >= wanted.llama_cpp and best >= wanted.best else "no"
    return {"target": f"{wanted.llama_cpp:g} / {wanted.best:g}", "met": verdict}


def _record_name(model: str) -> str:
    """int4g stands beside the peers' Q4_0."""
    name = model.partition(" ")[0]
    return "0.6b-q4_0" if name == "0.6b-int4g" else name


def _rounded(value: float) -> float:
    return round(value, 2 if value < 100 else 0)


def _cell(ratio: float | None) -> object:
    return _NOTHING if ratio is None else round(ratio, 2)
