"""Reads a step's result row by row, as plain Python values."""

from __future__ import annotations

from functools import cached_property

from ftllm.engine.plan import StepPlan, StepResult
from ftllm.engine.request import TokenLogprobs


class Readout:
    """Converts each array at most once, and only when it is asked for.

    Raises `ValueError` when the result does not have the plan's rows.
    """

    def __init__(self, plan: StepPlan, result: StepResult) -> None:
        rows = len(plan.output_rows)
        names = ("token_ids", "logprobs", "ranks", "top_ids", "top_logprobs")
        lengths = [len(getattr(result, name)) for name in names]
        if any(length != rows for length in lengths):
            raise ValueError(
                f"The executor returned {', '.join(map(str, lengths))} rows ({', '.join(names)})"
                f" for a plan with {rows} output rows."
            )
        if len(result.hidden) != len(plan.pooled_rows):
            raise ValueError(
                f"The executor returned {len(result.hidden)} hidden states for a plan with"
                f" {len(plan.pooled_rows)} pooled rows."
            )
        self._result = result
        self.hidden = result.hidden
        self.token_ids: list[int] = result.token_ids.tolist()

    def logprobs(self, row: int, top: int) -> TokenLogprobs:
        """Of one row; `top` most likely tokens, fewer in a smaller vocabulary."""
        likely = zip(self._top_ids[row][:top], self._top_logprobs[row][:top], strict=True)
        return TokenLogprobs(
            token_id=self.token_ids[row],
            logprob=self._logprobs[row],
            top=tuple(pair for pair in likely if pair[0] >= 0),
            rank=self._ranks[row],
        )

    def target_logprobs(self, row: int, count: int) -> list[float]:
        """Of the targets of `count` rows from `row` on."""
        return self._logprobs[row : row + count]

    @cached_property
    def _logprobs(self) -> list[float]:
        values: list[float] = self._result.logprobs.tolist()
        return values

    @cached_property
    def _ranks(self) -> list[int]:
        values: list[int] = self._result.ranks.tolist()
        return values

    @cached_property
    def _top_ids(self) -> list[list[int]]:
        values: list[list[int]] = self._result.top_ids.tolist()
        return values

    @cached_property
    def _top_logprobs(self) -> list[list[float]]:
        values: list[list[float]] = self._result.top_logprobs.tolist()
        return values
