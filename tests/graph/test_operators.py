"""Operators, each recorded alone and compared with NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from tests.engine.models.steps import Part, trace
from tests.graph.recording import Float32Array, Recording, normal, weight
from tests.kernels.test_attention import oracle

Float64Array = npt.NDArray[np.float64]

_TOKENS = 45  # more than one KV block


def close(found: Float32Array, expected: Float64Array) -> bool:
    """Within 1e-5 of the largest value (of 1 where all are smaller)."""
    return bool(np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max()))


def test_embedding_takes_rows_by_token_id() -> None:
    table = normal(20, 24)
    recording = Recording(table, factor=1.5)
    core = recording.executor(recording.x)
    ids = [7, 0, 19, 7]
    values = trace(core, [Part(ids, [0])])
    np.testing.assert_array_equal(values["x"], table[ids] * np.float32(1.5))


@pytest.mark.parametrize("threads", [1, 2])
def test_neighbouring_linears_share_a_loop(threads: int) -> None:
    """q, k and v of different widths, with and without a bias."""
    table = normal(_TOKENS, 40)
    recording = Recording(table)
    matrices = [normal(rows, 40, seed=rows) for rows in (70, 1, 33)]
    biases = [normal(70, seed=9), None, normal(33, seed=8)]
    for place, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        last = recording.linear(recording.x, matrix, f"y{place}", bias=bias)
    values = recording.run(last, threads=threads)
    for place, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        expected = table.astype(np.float64) @ matrix.T + (0 if bias is None else bias)
        assert close(values[f"y{place}"], expected)


def test_elementwise_operators_and_norms() -> None:
    table = normal(_TOKENS, 48)
    recording = Recording(table)
    graph = recording.core
    size = normal(16, seed=2)
    recorded: dict[str, int] = {}
    records: dict[str, Callable[[], int]] = {
        "norm": lambda: graph.rms_norm(x=recording.x, weight=size, eps=1e-5),
        "scaled": lambda: graph.scale(x=recording.x, factor=0.25),
        "sum": lambda: graph.add(a=recording.x, b=recorded["scaled"]),
        "capped": lambda: graph.soft_cap(x=recorded["sum"], limit=2.0),
        "silu": lambda: graph.gated(gate=recording.x, up=recorded["norm"], activation="silu"),
        "gelu": lambda: graph.gated(gate=recording.x, up=recorded["norm"], activation="gelu_tanh"),
    }
    for name, record in records.items():
        recording.name(name)
        recorded[name] = record()
    values = recording.run(recorded["gelu"])
    x = table.astype(np.float64)
    heads = x.reshape(_TOKENS, 3, 16)  # normalized in runs of the weight's size
    norm = heads / np.sqrt((heads**2).mean(axis=2, keepdims=True) + 1e-5) * size
    norm = norm.reshape(x.shape)
    inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    assert close(values["norm"], norm)
    assert close(values["scaled"], 0.25 * x)
    assert close(values["sum"], 1.25 * x)
    assert close(values["capped"], 2 * np.tanh(1.25 * x / 2))
    assert close(values["silu"], x / (1 + np.exp(-x)) * norm)
    assert close(values["gelu"], 0.5 * x * (1 + np.tanh(inner)) * norm)


@pytest.mark.parametrize(("head_dim", "pairs"), [(16, 8), (32, 16), (32, 5)])
def test_rope_turns_pairs_by_position(head_dim: int, pairs: int) -> None:
    """Values beyond the rotated pairs of a head stay; positions count from the context on."""
    table = normal(40, 2 * head_dim)
    recording = Recording(table)
    frequencies = (1.0 / 100.0 ** (np.arange(pairs) / pairs)).astype(np.float32)
    rotary = recording.core.rope_table(frequencies=frequencies, factor=1.25)
    recording.name("rope")
    y = recording.core.rope(x=recording.x, table=rotary, head_dim=head_dim)
    core = recording.executor(y)
    values = trace(core, [Part(range(6), [0]), Part(range(6, 40), [3, 1], context=20)])["rope"]
    positions = np.concatenate([np.arange(6), 20 + np.arange(34)])
    angles = positions[:, None] * frequencies.astype(np.float64)
    cos, sin = 1.25 * np.cos(angles)[:, None], 1.25 * np.sin(angles)[:, None]
    heads = table.astype(np.float64).reshape(40, 2, head_dim)
    expected = heads.copy()
    first, second = heads[..., :pairs], heads[..., pairs : 2 * pairs]
    expected[..., :pairs] = first * cos - second * sin
    expected[..., pairs : 2 * pairs] = second * cos + first * sin
    assert close(values.reshape(expected.shape), expected)


@pytest.mark.parametrize("window", [0, 9])
@pytest.mark.parametrize("group", [1, 3, 7, 8, 32, 33, 40])
def test_attention_by_groups_of_heads(group: int, window: int) -> None:
    """Two KV heads; groups of more heads than one task holds are cut."""
    head_dim, kv_heads = 16, 2
    table = normal(_TOKENS, 64, seed=group)
    recording = Recording(table)
    q = recording.linear(recording.x, normal(group * kv_heads * head_dim, 64, seed=1), "q")
    k = recording.linear(recording.x, normal(kv_heads * head_dim, 64, seed=2), "k")
    v = recording.linear(recording.x, normal(kv_heads * head_dim, 64, seed=3), "v")
    recording.name("attention")
    y = recording.core.attention(
        q=q, k=k, v=v, layer=0, head_dim=head_dim, scale=0.02, window=window
    )
    core = recording.executor(y)
    ids = list(range(_TOKENS))
    values = trace(core, [Part(ids, [4, 2])])
    shape = (_TOKENS, kv_heads, group, head_dim)
    for head in range(kv_heads):
        own = slice(head * head_dim, (head + 1) * head_dim)
        expected = oracle(
            values["q"].reshape(shape)[:, head],
            values["k"][:, own].astype(np.float64),
            values["v"][:, own].astype(np.float64),
            0, 0.02, window,
        )  # fmt: skip
        assert close(values["attention"].reshape(shape)[:, head], expected)
    tail = trace(core, [Part(ids[-7:], [4, 2], context=_TOKENS - 7)])
    np.testing.assert_array_equal(tail["attention"], values["attention"][-7:])
    for token in ids[-3:]:
        row = trace(core, [Part([token], [4, 2], context=token)])
        np.testing.assert_array_equal(row["attention"][0], values["attention"][token])


def mixture(
    x: Float32Array, router: Float32Array, weights: list[Float32Array], top_k: int, normalize: bool
) -> Float64Array:
    gate, up, down = (matrix.astype(np.float64) for matrix in weights)
    out = np.zeros_like(x, np.float64)
    for row, logits in enumerate(router.astype(np.float64)):
        p = np.exp(logits - logits.max())
        p /= p.sum()
        chosen = np.argsort(-logits, kind="stable")[:top_k]
        total = p[chosen].sum() if normalize else 1.0
        for expert in chosen:
            g, u = gate[expert] @ x[row], up[expert] @ x[row]
            out[row] += p[expert] / total * (down[expert] @ (g / (1 + np.exp(-g)) * u))
    return out


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (5, 1), (5, 2), (8, 8)])
@pytest.mark.parametrize("threads", [1, 2])
def test_experts(experts: int, top_k: int, normalize: bool, threads: int) -> None:
    hidden, inner = 24, 40
    table = normal(_TOKENS, hidden)
    recording = Recording(table)
    router = recording.linear(recording.x, normal(experts, hidden, seed=1), "router")
    weights = [
        normal(experts, inner, hidden, seed=2),
        normal(experts, inner, hidden, seed=3),
        normal(experts, hidden, inner, seed=4),
    ]
    gate, up, down = (weight(matrix) for matrix in weights)
    recording.name("experts")
    y = recording.core.experts(
        x=recording.x, router=router, gate=gate, up=up, down=down,
        top_k=top_k, normalize=normalize, activation="silu",
    )  # fmt: skip
    values = recording.run(y, threads=threads)
    expected = mixture(table, values["router"], weights, top_k, normalize)
    assert close(values["experts"], expected)


def test_equal_router_logits_take_the_lower_expert() -> None:
    table = normal(4, 16)
    recording = Recording(table)
    router = recording.linear(recording.x, np.zeros((6, 16), np.float32), "router")
    down = np.stack([np.full((16, 16), 10.0**expert, np.float32) for expert in range(6)])
    ones = np.ones((6, 16, 16), np.float32)
    recording.name("experts")
    y = recording.core.experts(
        x=recording.x, router=router, gate=weight(ones), up=weight(ones), down=weight(down),
        top_k=2, normalize=True, activation="silu",
    )  # fmt: skip
    values = recording.run(y)
    one = table.astype(np.float64).sum(axis=1)
    hidden = one / (1 + np.exp(-one)) * one
    expected = np.repeat((hidden * 16 * (1.0 + 10.0) / 2)[:, None], 16, axis=1)
    assert close(values["experts"], expected)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_outputs_come_in_slices_of_any_number(count: int) -> None:
    """Only the rows that are asked for, in order, however many."""
    table = normal(100, 16)
    recording = Recording(table)
    core = recording.executor(recording.x)
    rows = np.sort(np.random.default_rng(count).permutation(100)[:count]).astype(np.int32)
    *_, values = core.step(
        token_ids=np.arange(100, dtype=np.int32),
        row_starts=np.array([0, 100], np.int32),
        context_lens=np.zeros(1, np.int32),
        block_tables=np.arange(4, dtype=np.int32)[None, :],
        output_rows=rows,
        output_targets=np.zeros(count, np.int32),
        output_top=np.full(count, -1, np.int32),
        output_drafts=np.zeros(count, np.int32),
        samplers=(None,) * count,
        trace=True,
    )
    np.testing.assert_array_equal(values["selected"], table[rows])
    assert values["logits"].shape == (count, 100)


def test_kv_block_bytes() -> None:
    layers = [(2, 64), (1, 16)]
    values = 2 * _core.KV_BLOCK_SIZE * (2 * 64 + 16)
    for kv_type, expected in {
        "float32": 4 * values,
        "float16": 2 * values,
        "bfloat16": 2 * values,
        "int8": values + 2 * 3 * 4 * _core.KV_BLOCK_SIZE,
    }.items():
        assert _core.kv_bytes_per_block(kv_type=kv_type, layers=layers) == expected
