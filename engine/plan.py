"""The border between the scheduler and the executor: one step's work and its result.

A step runs T token rows that belong to S sequences, and reads logits at R of those rows and hidden
states at P. The last rows of a sequence may be drafts, guesses at its next tokens: a sequence with
d drafts samples at its last d + 1 rows, each as if the drafts up to it were right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.matcher import MaskRequest

# What a step gives in place of a sampled token.
NO_LOGITS = -1  # no logit was finite
ALL_EXCLUDED = -2  # the sampler's options exclude every token

Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One step, immutable. Rows of a sequence are consecutive, sequences in row order."""

    token_ids: Int32Array  # (T,)
    row_starts: Int32Array  # (S + 1,) sequence s owns rows row_starts[s] to row_starts[s + 1]
    context_lens: Int32Array  # (S,) tokens whose K/V is already cached: the first row's position
    block_tables: Int32Array  # (S, B) KV block ids in order, -1 beyond the sequence's last block
    output_rows: Int32Array  # (R,) rows whose logits are read, ascending
    output_targets: Int32Array  # (R,) -1: sample; else the token whose logprob is asked for
    output_top: Int32Array  # (R,) how many most likely tokens to report, 0 to 20; -1: no logprob
    output_drafts: Int32Array  # (R,) tokens up to the row that its sampler counts as accepted
    samplers: tuple[_core.Sampler | None, ...]  # (R,) None where output_targets >= 0
    output_masks: Int32Array  # (R,) row of `masks` that says what can be sampled; -1: anything
    masks: _core.TokenMasks | None  # None: no row has one. Filled while the step runs
    mask_requests: tuple[MaskRequest, ...]  # what to fill it with
    # (P,) rows whose final hidden states are read, by sequence and then ascending
    pooled_rows: Int32Array = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step computed for its R output rows."""

    token_ids: Int32Array  # (R,) the sampled token or one of the above, or the target
    logprobs: Float32Array  # (R,) its log-probability (0.0 where output_top is -1)
    ranks: Int32Array  # (R,) its place among all tokens, from 1 (0 where output_top is -1)
    top_ids: Int32Array  # (R, max(output_top)) most likely first, -1 beyond the row's own count
    top_logprobs: Float32Array  # (R, max(output_top))
    # (P, hidden size) behind the final norm
    hidden: Float32Array = field(default_factory=lambda: np.zeros((0, 0), np.float32))


class Executor(Protocol):
    """Runs steps. `step` releases the GIL, changes no scheduler state and may raise."""

    @property
    def block_size(self) -> int: ...  # tokens in one KV block

    @property
    def num_blocks(self) -> int: ...

    @property
    def max_batched_tokens(self) -> int: ...  # upper limit of T (and of R)

    @property
    def max_batch(self) -> int: ...  # upper limit of S

    def step(self, plan: StepPlan) -> StepResult: ...
