"""Masks of allowed tokens: one row through the sampler, and a step that waits for them."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from tests.sampling.oracle import Float32Array, Options


def row(seed: int, vocab: int) -> Float32Array:
    return (np.random.default_rng(seed).normal(size=vocab) * 2).astype(np.float32)


def words(allowed: npt.NDArray[np.bool_]) -> list[int]:
    """32 bits a word, the lowest first."""
    padded = np.zeros(-(-len(allowed) // 32) * 32, bool)
    padded[: len(allowed)] = allowed
    packed: list[int] = np.packbits(padded, bitorder="little").view(np.uint32).tolist()
    return packed


def some(seed: int, vocab: int, share: float) -> npt.NDArray[np.bool_]:
    """A random mask with at least one token."""
    draw = np.random.default_rng(seed)
    allowed = draw.random(vocab) < share
    allowed[draw.integers(vocab)] = True
    return allowed


VARIANTS = [
    Options(temperature=0),
    Options(temperature=0.7),
    Options(temperature=1.3, top_k=5, top_p=0.9, min_p=0.01),
    Options(
        temperature=0,
        logit_bias={0: 3.0, 1: -2.0},
        repetition_penalty=0.5,
        presence_penalty=1.0,
        frequency_penalty=0.3,
        prompt_ids=[0, 2],
    ),
]


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("vocab", [1, 3, 31, 32, 33, 64, 100, 1024, 1055, 5003])
def test_a_masked_token_is_as_good_as_one_of_minus_infinity(vocab: int, options: Options) -> None:
    options = options if vocab > 3 else Options(temperature=options.temperature)
    for seed in range(12):
        logits = row(seed, vocab)
        allowed = some(seed, vocab, share=[0.001, 0.3, 0.97][seed % 3])
        accepted = [1, 1, 2] if vocab > 3 else []
        expected = _core.sample_row(
            options.sampler(accepted), np.where(allowed, logits, -np.inf).astype(np.float32)
        )
        found = _core.sample_row(options.sampler(accepted), logits, mask=words(allowed))
        assert found == expected
        assert allowed[found]


def test_a_full_mask_changes_nothing() -> None:
    logits = row(1, 1000)
    full = words(np.ones(1000, bool))
    for options in VARIANTS:
        plain = _core.sample_row(options.sampler(), logits)
        assert _core.sample_row(options.sampler(), logits, mask=full) == plain


def test_tokens_beyond_the_masks_end_are_excluded() -> None:
    logits = np.zeros(100, np.float32)
    logits[80] = 9
    mask = words(np.ones(64, bool))
    assert _core.sample_row(Options(temperature=0).sampler(), logits, mask=mask) == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_and_infinity_under_a_mask(temperature: float) -> None:
    logits = row(2, 70)
    logits[[3, 40, 65]] = np.nan, np.inf, np.inf
    sampler = Options(temperature=temperature).sampler()
    allowed = np.zeros(70, bool)
    allowed[[3, 5, 65]] = True
    assert _core.sample_row(sampler, logits, mask=words(allowed)) == 65
    allowed[65] = False
    assert _core.sample_row(sampler, logits, mask=words(allowed)) == 5


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_mask_that_leaves_nothing_is_reported(temperature: float) -> None:
    sampler = Options(temperature=temperature, allowed_token_ids=[4]).sampler()
    allowed = np.ones(50, bool)
    allowed[4] = False
    for mask in (words(allowed), [0, 0]):
        with pytest.raises(ValueError, match="exclude every token"):
            _core.sample_row(sampler, row(1, 50), mask=mask)


def test_masks_are_plain_memory() -> None:
    masks = _core.TokenMasks(rows=3, vocab_size=70)
    assert (masks.rows, masks.row_bytes, len(masks.data)) == (3, 12, 36)
    assert not any(masks.data)
    masks.data[13] = 0x81
    bits = np.unpackbits(np.frombuffer(masks.data, np.uint8), bitorder="little")
    assert np.flatnonzero(bits).tolist() == [13 * 8, 13 * 8 + 7]
    assert np.frombuffer(masks.data, np.uint8).ctypes.data == masks.address
    for rows, vocab_size in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            _core.TokenMasks(rows=rows, vocab_size=vocab_size)


def test_waiting_ends_when_they_are_published() -> None:
    masks = _core.TokenMasks(rows=1, vocab_size=8)
    done = threading.Event()

    def wait() -> None:
        masks.wait()
        done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.02)
    assert not done.is_set()
    masks.publish()
    thread.join(10)
    assert done.is_set()
    masks.wait()  # again: at once
