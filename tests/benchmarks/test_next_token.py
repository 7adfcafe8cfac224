"""The arithmetic of benchmarks/next_token.py against its definition in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from next_token import distance

_PASSAGE = tuple(np.random.default_rng(2).integers(0, 50, 150).tolist())


def logits(seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(3, 5, (150, 50)).astype(np.float32)


def test_equal_logits_are_no_distance_apart() -> None:
    found = distance(_PASSAGE, logits(1), logits(1) + 7)
    assert (found.tokens, found.same_top) == (149, 149)
    assert found.divergence == pytest.approx(0, abs=1e-4)


def test_sums_are_those_of_the_definition() -> None:
    def log_softmax(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        wide = values.astype(np.float64)
        return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))

    expected, found = log_softmax(logits(1)[:-1]), log_softmax(logits(2)[:-1])
    result = distance(_PASSAGE, logits(1), logits(2))
    assert result.divergence == pytest.approx((np.exp(expected) * (expected - found)).sum(), 1e-5)
    assert result.loss == pytest.approx(-found[np.arange(149), _PASSAGE[1:]].sum(), 1e-5)
    assert result.same_top == (expected.argmax(axis=1) == found.argmax(axis=1)).sum()
