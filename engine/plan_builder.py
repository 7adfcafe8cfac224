"""Turns the scheduler's choice into the arrays of a `StepPlan`."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from itertools import takewhile
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
    samples: int  # rows that sample: none, or the last pending one and the drafts
    drafts: Items[int] = ()

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


def prefill_chunk(seq: Sequence, rows: int) -> Chunk:
    """Samples if it completes the prompt of a sequence that generates."""
    return Chunk(seq, rows, int(rows == seq.pending and seq.pooler is None))


def build_plan(chunks: Items[Chunk], tables: BlockTables, *, vocab_size: int) -> StepPlan:
    """One step over `chunks`, in their order. Plain lists first: few and large numpy calls."""
    columns = _Columns()
    simple = sum(1 for _ in takewhile(_is_simple_decode, chunks))
    _add_decodes(columns, [chunk.seq for chunk in chunks[:simple]])
    for chunk in chunks[simple:]:
        _add_chunk(columns, chunk)
    width = max(len(chunk.seq.blocks) for chunk in chunks)
    rows = columns.mask_rows
    return StepPlan(
        token_ids=_frozen(columns.token_ids),
        row_starts=_frozen(columns.row_starts),
        context_lens=_frozen(columns.context_lens),
        block_tables=_frozen(tables.gather([chunk.seq.slot for chunk in chunks], width)),
        output_rows=_frozen(columns.output_rows),
        output_targets=_frozen(columns.output_targets),
        output_top=_frozen(columns.output_top),
        output_drafts=_frozen(columns.output_drafts),
        samplers=tuple(columns.samplers),
        pooled_rows=_frozen(columns.pooled_rows),
        output_masks=_frozen(columns.output_masks),
        masks=_core.TokenMasks(rows=rows, vocab_size=vocab_size) if rows else None,
        mask_requests=tuple(columns.mask_requests),
    )


@dataclass(slots=True)
class _Columns:
    """The fields of a `StepPlan` while they are put together."""

    token_ids: list[int] = field(default_factory=list)
    row_starts: list[int] = field(default_factory=lambda: [0])
    context_lens: list[int] = field(default_factory=list)
    output_rows: list[int] = field(default_factory=list)
    output_targets: list[int] = field(default_factory=list)
    output_top: list[int] = field(default_factory=list)
    output_drafts: list[int] = field(default_factory=list)
    samplers: list[_core.Sampler | None] = field(default_factory=list)
    pooled_rows: list[int] = field(default_factory=list)
    output_masks: list[int] = field(default_factory=list)
    mask_requests: list[MaskRequest] = field(default_factory=list)
    mask_rows: int = 0


def _is_simple_decode(chunk: Chunk) -> bool:
    """One row that samples, unconstrained."""
    seq, rows, samples, _ = chunk
    return rows == samples == 1 and seq.num_computed >= seq.num_prompt and seq.matcher is None


def _add_decodes(columns: _Columns, seqs: Items[Sequence]) -> None:
    """The first rows of a step. Most steps have no others, so these go in column by column."""
    count = len(seqs)
    columns.token_ids = [seq.tokens[-1] for seq in seqs]
    columns.row_starts = list(range(count + 1))
    columns.context_lens = [seq.num_computed for seq in seqs]
    columns.output_rows = list(range(count))
    columns.output_targets = [-1] * count
    columns.output_top = [_top(seq.request.params.logprobs) for seq in seqs]
    columns.output_drafts = [0] * count
    columns.samplers = [seq.sampler for seq in seqs]
    columns.output_masks = [NO_MASK] * count


def _add_chunk(columns: _Columns, chunk: Chunk) -> None:
    seq, rows, samples, drafts = chunk
    begin, first_row = seq.num_computed, len(columns.token_ids)
    last_row = first_row + rows - 1
    if targets := seq.targets(rows):
        tokens = seq.tokens[begin + 1 : begin + 1 + targets]
        top = _top(seq.request.params.prompt_logprobs)
        _add_targets(columns, range(first_row, first_row + targets), tokens, top)
    columns.token_ids += seq.tokens[begin : begin + rows]
    if seq.pooler is not None:
        columns.pooled_rows += [first_row + at - begin for at in chunk.pooled(seq.pooler)]
        scored = chunk.scored(seq.pooler)
        _add_targets(columns, [last_row] * len(scored), scored, 0)
    elif samples:
        columns.output_rows += range(last_row, last_row + samples)
        columns.output_targets += [-1] * samples
        columns.output_top += [_top(seq.request.params.logprobs)] * samples
        columns.output_drafts += range(samples)
        columns.samplers += [seq.sampler] * samples
        if needs_mask(seq, drafts):
            assert seq.matcher is not None
            columns.output_masks += range(columns.mask_rows, columns.mask_rows + samples)
            columns.mask_requests.append(MaskRequest(seq.matcher, columns.mask_rows, drafts))
            columns.mask_rows += samples
        else:
            columns.output_masks += [NO_MASK] * samples
        columns.token_ids += drafts
    columns.row_starts.append(len(columns.token_ids))
    columns.context_lens.append(begin)


def _add_targets(columns: _Columns, rows: Items[int], tokens: Items[int], top: int) -> None:
    """Rows that do not sample: they give the log-probabilities of `tokens`."""
    columns.output_rows += rows
    columns.output_targets += tokens
    columns.output_top += [top] * len(rows)
    columns.output_drafts += [0] * len(rows)
    columns.samplers += [None] * len(rows)
    columns.output_masks += [NO_MASK] * len(rows)


def _top(logprobs: int | None) -> int:
    return -1 if logprobs is None else logprobs


def needs_mask(seq: Sequence, drafts: Items[int]) -> bool:
    """Whether its grammar may exclude tokens in the next step."""
    return seq.matcher is not None and (bool(drafts) or not seq.matcher.unconstrained)


def _frozen(values: list[int] | Int32Array) -> Int32Array:
    array = np.asarray(values, dtype=np.int32)
    array.flags.writeable = False
    return array
