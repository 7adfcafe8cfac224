"""Turns the scheduler's choice into the arrays of a `StepPlan`."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import NamedTuple

import numpy as np

from ftllm import _core
from ftllm.engine.block_tables import BlockTables
from ftllm.engine.matcher import MaskRequest
from ftllm.engine.plan import Int32Array, StepPlan
from ftllm.engine.pooling import Pooler
from ftllm.engine.sequence import Sequence

NO_MASK = -1


class Chunk(NamedTuple):
    """The next `rows` pending tokens of a sequence; all of them where `drafts` follow."""

    seq: Sequence
    rows: int
    drafts: Items[int] = ()

    @property
    def samples(self) -> int:
        """How many of its rows sample: none, or its last pending one and the drafts."""
        generates = self.seq.pooler is None and self.completes
        return 1 + len(self.drafts) if generates else 0

    @property
    def completes(self) -> bool:
        """No token is left pending."""
        return self.rows == self.seq.pending

    def pooled(self, pooler: Pooler) -> range:
        """The positions among its rows whose hidden states `pooler`, its sequence's, needs."""
        begin = self.seq.num_computed
        return pooler.rows(begin, begin + self.rows, len(self.seq.tokens))

    def scored(self, pooler: Pooler) -> tuple[int, ...]:
        """The tokens whose log-probability `pooler` needs at its last row."""
        return pooler.token_ids if self.completes else ()


def build_plan(chunks: Items[Chunk], tables: BlockTables, *, vocab_size: int) -> StepPlan:
    """One step over `chunks`, in their order. Plain lists first: few and large numpy calls."""
    token_ids: list[int] = []
    row_starts = [0]
    context_lens: list[int] = []
    slots: list[int] = []
    output_rows: list[int] = []
    output_targets: list[int] = []
    output_top: list[int] = []
    output_drafts: list[int] = []
    samplers: list[_core.Sampler | None] = []
    pooled_rows: list[int] = []
    output_masks: list[int] = []
    mask_requests: list[MaskRequest] = []
    mask_rows = 0
    width = 0
    for chunk in chunks:
        seq, rows, drafts = chunk
        params = seq.request.params
        begin, first_row = seq.num_computed, len(token_ids)
        end = begin + rows
        targets = seq.targets(rows)
        if targets:
            top = params.prompt_logprobs
            output_rows += range(first_row, first_row + targets)
            output_targets += seq.tokens[begin + 1 : begin + 1 + targets]
            output_top += [-1 if top is None else top] * targets
            output_drafts += [0] * targets
            samplers += [None] * targets
            output_masks += [NO_MASK] * targets
        token_ids += seq.tokens[begin:end]
        if seq.pooler is not None:
            pooled_rows += [first_row + at - begin for at in chunk.pooled(seq.pooler)]
            scored = chunk.scored(seq.pooler)
            output_rows += [len(token_ids) - 1] * len(scored)
            output_targets += scored
            output_top += [0] * len(scored)
            output_drafts += [0] * len(scored)
            samplers += [None] * len(scored)
            output_masks += [NO_MASK] * len(scored)
        elif end == len(seq.tokens):
            samples = 1 + len(drafts)
            output_rows += range(len(token_ids) - 1, len(token_ids) - 1 + samples)
            output_targets += [-1] * samples
            output_top += [-1 if params.logprobs is None else params.logprobs] * samples
            output_drafts += range(samples)
            samplers += [seq.sampler] * samples
            if needs_mask(seq, drafts):
                assert seq.matcher is not None
                output_masks += range(mask_rows, mask_rows + samples)
                mask_requests.append(MaskRequest(seq.matcher, mask_rows, drafts))
                mask_rows += samples
            else:
                output_masks += [NO_MASK] * samples
            token_ids += drafts
        row_starts.append(len(token_ids))
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
        output_drafts=_frozen(output_drafts),
        samplers=tuple(samplers),
        pooled_rows=_frozen(pooled_rows),
        output_masks=_frozen(output_masks),
        masks=_core.TokenMasks(rows=mask_rows, vocab_size=vocab_size) if mask_rows else None,
        mask_requests=tuple(mask_requests),
    )


def needs_mask(seq: Sequence, drafts: Items[int]) -> bool:
    """Whether its grammar may exclude tokens in the next step."""
    return seq.matcher is not None and (bool(drafts) or not seq.matcher.unconstrained)


def _frozen(values: list[int] | Int32Array) -> Int32Array:
    array = np.asarray(values, dtype=np.int32)
    array.flags.writeable = False
    return array
