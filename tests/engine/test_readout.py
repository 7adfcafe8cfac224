from __future__ import annotations

import numpy as np
import pytest

from ftllm.engine.plan import StepPlan, StepResult
from ftllm.engine.readout import Readout


def plan(rows: int) -> StepPlan:
    none = np.zeros(0, np.int32)
    outputs = np.arange(rows, dtype=np.int32)
    return StepPlan(
        token_ids=none,
        row_starts=none,
        context_lens=none,
        block_tables=none.reshape(0, 0),
        output_rows=outputs,
        output_targets=none,
        output_top=none,
        output_drafts=none,
        samplers=(None,) * rows,
        output_masks=none,
        masks=None,
        mask_requests=(),
    )


def result() -> StepResult:
    return StepResult(
        np.array([7, 8], np.int32),
        np.array([-0.5, -1.5], np.float32),
        np.array([1, 40], np.int32),
        np.array([[7, 3, 5], [9, -1, -1]], np.int32),
        np.array([[-0.5, -2.0, -3.0], [-0.25, 0.0, 0.0]], np.float32),
    )


def test_rows_as_python_values() -> None:
    readout = Readout(plan(2), result())
    assert readout.token_ids == [7, 8]
    assert readout.logprobs(0, 2).top == ((7, -0.5), (3, -2.0))
    assert readout.logprobs(0, 0).top == ()
    entry = readout.logprobs(1, 3)  # the vocabulary had no more
    assert (entry.token_id, entry.logprob, entry.top) == (8, -1.5, ((9, -0.25),))
    assert entry.rank == 40
    assert type(entry.rank) is int
    assert type(entry.token_id) is int
    assert type(entry.logprob) is float


def test_wrong_number_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returned 2, 2, 2, 2, 2 rows .* 3 output rows"):
        Readout(plan(3), result())
