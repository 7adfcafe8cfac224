"""Runs steps of a built model directly, with hand-made block tables, and returns all logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.build import BuildOptions, BuiltModel, build_model
from ftllm.engine.checkpoints import open_checkpoint

Float32Array = npt.NDArray[np.float32]

DEFAULTS = BuildOptions(
    dtype="float32",
    kv_cache_dtype="float32",
    threads=1,
    tokens=512,
    max_batch=16,
    max_batched_tokens=128,
    max_model_len=128,
)


def build(path: Path, options: BuildOptions = DEFAULTS) -> BuiltModel:
    return build_model(open_checkpoint(path), options, on_bytes=lambda _: None)


@dataclass(frozen=True, slots=True)
class Part:
    """One sequence's share of a step: `ids` at the positions from `context` on, whose KV lies in
    `blocks`."""

    ids: Sequence[int]
    blocks: Sequence[int]
    context: int = 0


def trace(core: _core.Executor, parts: Sequence[Part]) -> Mapping[str, Float32Array]:
    """Every value of one step over `parts` by name, in graph order; all rows are outputs."""
    lengths = [len(part.ids) for part in parts]
    starts = np.cumsum([0, *lengths], dtype=np.int32)
    total = int(starts[-1])
    width = max(len(part.blocks) for part in parts)
    tables = np.full((len(parts), width), -1, np.int32)
    for table, part in zip(tables, parts, strict=True):
        table[: len(part.blocks)] = part.blocks
    *_, values = core.step(
        token_ids=np.concatenate([np.asarray(part.ids, np.int32) for part in parts]),
        row_starts=starts,
        context_lens=np.array([part.context for part in parts], np.int32),
        block_tables=tables,
        output_rows=np.arange(total, dtype=np.int32),
        output_targets=np.zeros(total, np.int32),
        output_top=np.full(total, -1, np.int32),
        output_drafts=np.zeros(total, np.int32),
        samplers=(None,) * total,
        trace=True,
    )
    return values


def logits(core: _core.Executor, parts: Sequence[Part]) -> list[Float32Array]:
    """(len(part.ids), V) for each part."""
    rows = list(trace(core, parts).values())[-1]
    ends = np.cumsum([len(part.ids) for part in parts])
    return np.split(rows, ends[:-1])


def chunked(
    core: _core.Executor, ids: Sequence[int], blocks: Sequence[int], chunk: int
) -> Float32Array:
    """(len(ids), V): the sequence alone, `chunk` tokens a step."""
    return np.concatenate(
        [
            logits(core, [Part(ids[at : at + chunk], blocks, at)])[0]
            for at in range(0, len(ids), chunk)
        ]
    )
