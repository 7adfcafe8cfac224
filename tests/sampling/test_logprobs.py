"""Log-probabilities of a row against NumPy's log-softmax in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    values = logits.astype(np.float64)
    values[np.isnan(values)] = -np.inf
    shifted = values - values.max()
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


@pytest.mark.parametrize("scale", [0.0, 0.1, 3.0, 30.0])
@pytest.mark.parametrize("vocab", [1, 3, 4, 17, 256, 257, 5000, 151_936])
def test_logprobs_match_log_softmax(vocab: int, scale: float) -> None:
    logits = (np.random.default_rng(vocab).normal(size=vocab) * scale).astype(np.float32)
    wanted = log_softmax(logits)
    order = np.argsort(-wanted, kind="stable")
    top = min(vocab, 20)
    for target in {0, vocab // 2, vocab - 1, int(order[0])}:
        logprob, rank, ids, logprobs = _core.score_row(logits, target, 20)
        assert order[rank - 1] == target
        assert logprob == pytest.approx(wanted[target], abs=1e-5, rel=1e-6)
        assert ids[:top].tolist() == order[:top].tolist()
        np.testing.assert_allclose(logprobs[:top], wanted[order[:top]], atol=1e-5, rtol=1e-6)
        assert (ids[top:] == -1).all()
        assert np.isneginf(logprobs[top:]).all()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_top_has_as_many_entries_as_asked_for(count: int) -> None:
    _, _, ids, logprobs = _core.score_row(np.arange(9, dtype=np.float32), 4, count)
    assert ids.tolist() == list(range(8, 8 - count, -1))
    assert logprobs.shape == (count,)


def test_equal_logits_rank_by_id() -> None:
    logits = np.zeros(1000, np.float32)
    logits[[900, 100, 300]] = 1.0
    _, _, ids, _ = _core.score_row(logits, 0, 6)
    assert ids.tolist() == [100, 300, 900, 0, 1, 2]
    ranks = [_core.score_row(logits, token, 0)[1] for token in (100, 300, 900, 0, 101, 999)]
    assert ranks == [1, 2, 3, 4, 104, 1000]


def test_nan_and_minus_infinity_have_no_probability() -> None:
    logits = np.array([np.nan, 1.0, -np.inf, 2.0], np.float32)
    wanted = log_softmax(logits)
    logprob, _, ids, logprobs = _core.score_row(logits, 0, 4)
    assert np.isneginf(logprob)
    assert ids.tolist() == [3, 1, -1, -1]
    np.testing.assert_allclose(logprobs[:2], wanted[[3, 1]], atol=1e-6)


def test_an_infinite_logit_takes_all_probability() -> None:
    logits = np.array([0.0, np.inf, 5.0], np.float32)
    logprob, _, ids, logprobs = _core.score_row(logits, 1, 1)
    assert logprob == 0.0
    assert ids.tolist() == [1]
    assert logprobs.tolist() == [0.0]


def test_probabilities_sum_to_one() -> None:
    logits = np.random.default_rng(3).normal(size=18).astype(np.float32) * 4
    _, _, _, logprobs = _core.score_row(logits, 0, 18)
    assert np.exp(logprobs.astype(np.float64)).sum() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("target", [-1, 10])
def test_a_target_outside_the_row_is_refused(target: int) -> None:
    with pytest.raises(ValueError, match="target"):
        _core.score_row(np.zeros(10, np.float32), target, 0)


@pytest.mark.parametrize("count", [-1, 21])
def test_a_top_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="top_n"):
        _core.score_row(np.zeros(10, np.float32), 0, count)


def test_a_row_without_any_usable_logit_is_reported() -> None:
    with pytest.raises(ValueError, match="-inf"):
        _core.score_row(np.full(10, np.nan, np.float32), 0, 3)


def test_a_row_of_the_wrong_shape_or_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(V,\)"):
        _core.score_row(np.zeros((2, 3), np.float32), 0, 0)
    doubles: Any = np.zeros(3, np.float64)
    with pytest.raises(TypeError):
        _core.score_row(doubles, 0, 0)


@pytest.mark.parametrize("gap", [0.3, 2.0, 5.5, 9.0, 10.7, 12.4])
def test_the_weight_of_many_unlikely_tokens_is_exact(gap: float) -> None:
    """151,935 equal tokens share most of the probability: errors of exp do not average out."""
    logits = np.full(151_936, -gap, np.float32)
    logits[7] = 0.0
    logprob, _, _, _ = _core.score_row(logits, 7, 0)
    assert logprob == pytest.approx(log_softmax(logits)[7], abs=2e-6)
