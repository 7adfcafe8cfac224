"""The executor that the engine drives: a recorded model on the C++ side."""

from __future__ import annotations

from ftllm import _core
from ftllm.engine.plan import StepPlan, StepResult


class CoreExecutor:
    """`plan.Executor` over `_core.Executor`."""

    def __init__(self, core: _core.Executor) -> None:
        self._core = core

    @property
    def block_size(self) -> int:
        return _core.KV_BLOCK_SIZE

    @property
    def num_blocks(self) -> int:
        return self._core.kv_blocks

    @property
    def max_batched_tokens(self) -> int:
        return self._core.max_tokens

    @property
    def max_batch(self) -> int:
        return self._core.max_sequences

    def step(self, plan: StepPlan) -> StepResult:
        """Raises `GraphError` for a plan that does not fit; nothing was computed then."""
        token_ids, logprobs, ranks, top_ids, top_logprobs, hidden = self._core.step(
            token_ids=plan.token_ids,
            row_starts=plan.row_starts,
            context_lens=plan.context_lens,
            block_tables=plan.block_tables,
            output_rows=plan.output_rows,
            output_targets=plan.output_targets,
            output_top=plan.output_top,
            output_drafts=plan.output_drafts,
            samplers=plan.samplers,
            pooled_rows=plan.pooled_rows,
            output_masks=plan.output_masks,
            masks=plan.masks,
        )
        return StepResult(token_ids, logprobs, ranks, top_ids, top_logprobs, hidden)
