"""Attention over the paged cache against a float64 softmax, for every KV type."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

KV_TYPES = ("float32", "float16", "bfloat16", "int8")
_BLOCK = _core.KV_BLOCK_SIZE
_MAX_ROWS = 32  # query rows times heads of one call


def stored(x: Float32Array, kv_type: str) -> Float64Array:
    """Keys or values (S, D) as the cache gives them back."""
    if kv_type == "float16":
        return x.astype(np.float16).astype(np.float64)
    if kv_type == "bfloat16":
        bits = x.view(np.uint32)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
        return rounded.view(np.float32).astype(np.float64)
    if kv_type == "int8":
        peaks = np.abs(x).max(axis=1, keepdims=True)
        factors = np.where(peaks == 0, np.float32(0), np.float32(127) / np.maximum(peaks, 1e-30))
        codes = np.rint(x * factors.astype(np.float32))
        return codes.astype(np.float64) * (peaks / np.float32(127)).astype(np.float64)
    return x.astype(np.float64)


def oracle(
    q: Float32Array, k: Float64Array, v: Float64Array, position: int, scale: float, window: int
) -> Float64Array:
    """(T, H, D)"""
    out = np.zeros(q.shape)
    for row in range(len(q)):
        last = position + row
        first = max(0, last - window + 1) if window else 0
        scores = q[row].astype(np.float64) @ k[first : last + 1].T * scale  # (H, visible)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        out[row] = (p / p.sum(axis=1, keepdims=True)) @ v[first : last + 1]
    return out


class Inputs:
    """Queries (T, H, D) at the last T of S positions, and everyone's keys and values."""

    def __init__(self, tokens: int, rows: int, heads: int, head_dim: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.k = random.standard_normal((tokens, head_dim)).astype(np.float32)
        self.v = random.standard_normal((tokens, head_dim)).astype(np.float32)
        self.q = random.standard_normal((rows, heads, head_dim)).astype(np.float32)
        self.position = tokens - rows
        self.scale = head_dim**-0.5
        count = -(-tokens // _BLOCK)
        self.table = random.permutation(count + 2)[:count].astype(np.int32)

    def run(
        self,
        kv_type: str,
        *,
        window: int = 0,
        causal: bool = True,
        rows_per_call: int = 1,
        fill: int = 0,
        rows: slice = slice(None),
        split: bool = False,
    ) -> Float32Array:
        return _core.kernels.attention(
            kv_type=kv_type,
            q=self.q[rows],
            k=self.k,
            v=self.v,
            block_table=self.table,
            blocks=len(self.table) + 2,
            position=self.position + (rows.start or 0),
            scale=self.scale,
            window=window,
            causal=causal,
            rows_per_call=rows_per_call,
            fill=fill,
            split=split,
        )

    def check(self, found: Float32Array, kv_type: str, window: int = 0) -> None:
        k, v = stored(self.k, kv_type), stored(self.v, kv_type)
        expected = oracle(self.q, k, v, self.position, self.scale, window)
        assert np.abs(found - expected).max() <= 2e-5 * np.abs(v).max()


@pytest.mark.parametrize("head_dim", [16, 32, 48, 64, 80, 96, 128, 256])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_head_sizes(kv_type: str, head_dim: int) -> None:
    inputs = Inputs(tokens=75, rows=4, heads=3, head_dim=head_dim)
    inputs.check(inputs.run(kv_type, rows_per_call=4), kv_type)


@pytest.mark.parametrize("heads", [1, 2, 3, 7, 8, 14, 32])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_groups_of_heads(kv_type: str, heads: int) -> None:
    """Whatever number of rows shares a call, each row has the same bits."""
    inputs = Inputs(tokens=70, rows=9, heads=heads, head_dim=32, seed=heads)
    alone = inputs.run(kv_type)
    inputs.check(alone, kv_type)
    for rows_per_call in {2, 3, 5, 9}:
        if rows_per_call * heads <= _MAX_ROWS:
            found = inputs.run(kv_type, rows_per_call=rows_per_call)
            np.testing.assert_array_equal(found, alone)


@pytest.mark.parametrize("tokens", [1, 2, 31, 32, 33, 64, 65, 200])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_contexts_within_and_across_blocks(kv_type: str, tokens: int) -> None:
    rows = min(tokens, 7)
    inputs = Inputs(tokens=tokens, rows=rows, heads=4, head_dim=64, seed=tokens)
    alone = inputs.run(kv_type)
    inputs.check(alone, kv_type)
    np.testing.assert_array_equal(inputs.run(kv_type, rows_per_call=7), alone)


@pytest.mark.parametrize("window", [1, 2, 31, 32, 33, 50, 1000])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_windows(kv_type: str, window: int) -> None:
    inputs = Inputs(tokens=130, rows=8, heads=4, head_dim=32, seed=window)
    alone = inputs.run(kv_type, window=window)
    inputs.check(alone, kv_type, window)
    np.testing.assert_array_equal(inputs.run(kv_type, window=window, rows_per_call=8), alone)


@pytest.mark.parametrize("window", [0, 1, 500, 1500])
@pytest.mark.parametrize("heads", [1, 2, 3, 7])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_long_contexts(kv_type: str, heads: int, window: int) -> None:
    """Over several chunks, with rows on both sides of a chunk's edge; whoever sums the chunks, and
    whatever rows share a call."""
    inputs = Inputs(tokens=2050, rows=4, heads=heads, head_dim=64, seed=heads)
    alone = inputs.run(kv_type, window=window)
    inputs.check(alone, kv_type, window)
    for rows_per_call in (1, 4):
        split = inputs.run(kv_type, window=window, rows_per_call=rows_per_call, split=True)
        np.testing.assert_array_equal(split, alone)
    np.testing.assert_array_equal(inputs.run(kv_type, window=window, rows_per_call=4), alone)


@pytest.mark.parametrize("window", [0, 20])
@pytest.mark.parametrize("rows_per_call", [1, 3, 8])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_unused_slots_do_not_leak(kv_type: str, rows_per_call: int, window: int) -> None:
    """A fresh block may hold anything: 0xFF bytes are NaN in every float type."""
    inputs = Inputs(tokens=43, rows=8, heads=4, head_dim=32)
    clean = inputs.run(kv_type, window=window, rows_per_call=rows_per_call)
    dirty = inputs.run(kv_type, window=window, rows_per_call=rows_per_call, fill=0xFF)
    np.testing.assert_array_equal(dirty, clean)


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_later_tokens_do_not_matter(kv_type: str) -> None:
    """A row in the middle of a chunk sees its own past, though later keys are in its blocks."""
    inputs = Inputs(tokens=60, rows=12, heads=2, head_dim=32)
    whole = inputs.run(kv_type, rows_per_call=12)
    inputs.k[55:], inputs.v[55:] = 9.0, -9.0
    np.testing.assert_array_equal(inputs.run(kv_type, rows_per_call=12)[:7], whole[:7])
    np.testing.assert_array_equal(
        inputs.run(kv_type, rows=slice(3, 7), rows_per_call=4), whole[3:7]
    )


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_large_scores_do_not_overflow(kv_type: str) -> None:
    """Scores of thousands of either sign: the softmax becomes a choice."""
    inputs = Inputs(tokens=70, rows=3, heads=2, head_dim=32)
    inputs.q *= 1000
    found = inputs.run(kv_type, rows_per_call=3)
    assert np.isfinite(found).all()
    k, v = stored(inputs.k, kv_type), stored(inputs.v, kv_type)
    expected = oracle(inputs.q, k, v, inputs.position, inputs.scale, 0)
    assert np.abs(found - expected).max() <= 5e-3


def test_float16_cache_saturates() -> None:
    """Values beyond 65504 are stored as 65504, not as infinities that would turn into NaN."""
    inputs = Inputs(tokens=40, rows=1, heads=1, head_dim=16)
    inputs.v[:] = 1e6
    np.testing.assert_allclose(inputs.run("float16"), 65504.0, rtol=1e-6)


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_rows_of_zeros(kv_type: str) -> None:
    inputs = Inputs(tokens=40, rows=2, heads=2, head_dim=16)
    inputs.k[:], inputs.v[:20] = 0.0, 0.0
    inputs.check(inputs.run(kv_type, rows_per_call=2), kv_type)


def test_a_broken_query_is_seen() -> None:
    inputs = Inputs(tokens=40, rows=3, heads=2, head_dim=32)
    clean = inputs.run("float16", rows_per_call=3)
    inputs.q[1, 0] = np.nan
    found = inputs.run("float16", rows_per_call=3)
    assert np.isnan(found[1, 0]).all()
    found[1, 0] = clean[1, 0]
    np.testing.assert_array_equal(found, clean)


@pytest.mark.parametrize("tokens", [1, 31, 32, 33, 75])
@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_not_causal(kv_type: str, tokens: int) -> None:
    """Every row sees all tokens, whatever block they are in, and whatever shares its call."""
    inputs = Inputs(tokens=tokens, rows=tokens, heads=2, head_dim=32, seed=tokens)
    alone = inputs.run(kv_type, causal=False)
    k, v = stored(inputs.k, kv_type), stored(inputs.v, kv_type)
    scores = np.einsum("thd,sd->ths", inputs.q.astype(np.float64), k) * inputs.scale
    p = np.exp(scores - scores.max(axis=2, keepdims=True))
    expected = (p / p.sum(axis=2, keepdims=True)) @ v
    assert np.abs(alone - expected).max() <= 2e-5 * np.abs(v).max()
    for rows_per_call in (3, 16):
        found = inputs.run(kv_type, causal=False, rows_per_call=rows_per_call)
        np.testing.assert_array_equal(found, alone)
