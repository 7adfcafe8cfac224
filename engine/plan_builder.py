"""Turns the scheduler's choice into the arrays of a `StepPlan`."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import NamedTuple

import numpy as np

from ftllm import _core
from ftllm.engine.block_tables import BlockTables
from ftllm.engine.plan import Int32Array, StepPlan
from ftllm.engine.sequence import Sequence


class Chunk(NamedTuple):
    """The next `rows` pending tokens of a sequence."""

    seq: Sequence
    rows: int

    @property
    def samples(self) -> bool:
        """Whether its last row gives the next token."""
        return self.rows == self.seq.pending


def build_plan(chunks: Items[Chunk], tables: BlockTables) -> StepPlan:
    """One step over `chunks`, in their order. Plain lists first: few and large numpy calls."""
    token_ids: list[int] = []
    row_starts = [0]
    context_lens: list[int] = []
    slots: list[int] = []
    output_rows: list[int] = []
    output_targets: list[int] = []
    output_top: list[int] = []
    samplers: list[_core.Sampler | None] = []
    width = 0
    for seq, rows in chunks:
        params = seq.request.params
        begin, first_row = seq.num_computed, len(token_ids)
        end = begin + rows
        targets = seq.targets(rows)
        if targets:
            top = params.prompt_logprobs
            output_rows += range(first_row, first_row + targets)
            output_targets += seq.tokens[begin + 1 : begin + 1 + targets]
            output_top += [-1 if top is None else top] * targets
            samplers += [None] * targets
        if end == len(seq.tokens):
            output_rows.append(first_row + rows - 1)
            output_targets.append(-1)
            output_top.append(-1 if params.logprobs is None else params.logprobs)
            samplers.append(seq.sampler)
        token_ids += seq.tokens[begin:end]
        row_starts.append(first_row + rows)
        context_lens.append(begin)
        slots.append(seq.slot)
        width = max(width, len(seq.blocks))
    return StepPlan(
        token_ids=_frozen(token_ids),
        row_starts=_frozen(row_starts),
        context_lens=_frozen(context_lens),
        block_tables=_frozen(tables.gather(slots, width)),
        output_rows=_frozen(output_rows),
        output_targets=_frozen(output_targets),
        output_top=_frozen(output_top),
        samplers=tuple(samplers),
    )


def _frozen(values: list[int] | Int32Array) -> Int32Array:
    array = np.asarray(values, dtype=np.int32)
    array.flags.writeable = False
    return array
