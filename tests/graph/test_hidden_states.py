"""Rows of the final hidden state, beside logits and instead of them; operators of encoders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ftllm import _core
from ftllm.errors import GraphError
from tests.engine.models.steps import Part, trace
from tests.graph.recording import Float32Array, Recording, normal

_TOKENS = 45  # more than one KV block
_NONE = np.zeros(0, np.int32)


def executor(recording: Recording, *, kv_type: str = "float32") -> _core.Executor:
    return _core.Executor(
        graph=recording.core,
        pool=_core.ThreadPool(threads=1),
        kv_type=kv_type,
        kv_blocks=16,
        max_tokens=256,
        max_sequences=8,
    )


def hidden(
    core: _core.Executor, tokens: int, pooled: Float32Array | np.ndarray, outputs: int = 0
) -> tuple[Float32Array, Float32Array]:
    """(logprobs of token 0 at the first `outputs` rows, hidden states of `pooled`)"""
    _, logprobs, _, _, _, states = core.step(
        token_ids=np.arange(tokens, dtype=np.int32),
        row_starts=np.array([0, tokens], np.int32),
        context_lens=np.zeros(1, np.int32),
        block_tables=np.arange(-(-tokens // 32), dtype=np.int32)[None, :],
        output_rows=np.arange(outputs, dtype=np.int32),
        output_targets=np.zeros(outputs, np.int32),
        output_top=np.zeros(outputs, np.int32),
        output_drafts=np.zeros(outputs, np.int32),
        samplers=(None,) * outputs,
        pooled_rows=np.asarray(pooled, np.int32),
    )
    return logprobs, states


def two_headed(*, logits: bool) -> tuple[Recording, Float32Array]:
    """Hidden state 2 · x, and logits by a random head behind it."""
    table = normal(100, 16)
    recording = Recording(table)
    recording.name("selected")
    selected = recording.core.select_outputs(x=recording.x)
    recording.name("hidden")
    doubled = recording.core.scale(x=selected, factor=2.0)
    recording.core.set_hidden(hidden=doubled)
    if logits:
        head = recording.linear(doubled, normal(100, 16, seed=1), "logits")
        recording.core.set_logits(logits=head)
    return recording, table


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 100])
def test_rows_in_any_number_beside_logits(count: int) -> None:
    recording, table = two_headed(logits=True)
    core = executor(recording)
    assert core.hidden_width == 16
    rows = np.sort(np.random.default_rng(count).permutation(100)[:count])
    alone, _ = hidden(core, 100, _NONE, outputs=40)
    logprobs, states = hidden(core, 100, rows, outputs=40)
    np.testing.assert_array_equal(states, 2 * table[rows])
    np.testing.assert_array_equal(logprobs, alone)  # neither disturbs the other


def test_a_graph_without_logits() -> None:
    recording, table = two_headed(logits=False)
    core = executor(recording)
    _, states = hidden(core, 100, np.array([3, 99]))
    np.testing.assert_array_equal(states, 2 * table[[3, 99]])
    with pytest.raises(GraphError, match="no logits"):
        hidden(core, 100, _NONE, outputs=1)


def test_what_is_refused() -> None:
    recording, _ = two_headed(logits=True)
    core = executor(recording)
    for row in (-1, 100):
        with pytest.raises(GraphError, match=f"pooled row {row} does not exist"):
            hidden(core, 100, np.array([row]))
    plain = Recording(normal(10, 16))
    core = plain.executor(plain.x)
    assert core.hidden_width == 0
    with pytest.raises(GraphError, match="no hidden state"):
        hidden(core, 10, np.array([1]))
    empty = Recording(normal(10, 16))
    with pytest.raises(GraphError, match="neither logits nor a hidden state"):
        executor(empty)
    with pytest.raises(GraphError, match="must come after select_outputs"):
        empty.core.set_hidden(hidden=empty.x)


def test_layer_norm_gelu_and_positions() -> None:
    table = normal(_TOKENS, 40)
    recording = Recording(table)
    graph = recording.core
    scale, shift, places = normal(40, seed=1), normal(40, seed=2), normal(60, 40, seed=3)
    recording.name("placed")
    placed = graph.positions(x=recording.x, table=places, first=2)
    recording.name("norm")
    norm = graph.layer_norm(x=placed, weight=scale, bias=shift, eps=1e-5)
    recording.name("gelu")
    core = recording.executor(graph.gelu(x=norm))
    values = trace(core, [Part(range(5), [7]), Part(range(5, _TOKENS), [0, 1], context=10)])
    at = np.concatenate([np.arange(5), 10 + np.arange(_TOKENS - 5)])
    x = table.astype(np.float64) + places[2 + at]
    np.testing.assert_allclose(values["placed"], x, atol=1e-6)
    centred = x - x.mean(axis=1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * scale + shift
    np.testing.assert_allclose(values["norm"], expected, atol=1e-5)
    erf = np.vectorize(math.erf)
    np.testing.assert_allclose(
        values["gelu"], 0.5 * expected * (1 + erf(expected / math.sqrt(2))), atol=1e-5
    )


def test_attention_to_the_whole_sequence() -> None:
    """Of each sequence alone; and its last row is what a causal one gives."""
    table = normal(_TOKENS, 32)
    recordings = [Recording(table), Recording(table)]
    found = []
    for recording, causal in zip(recordings, (False, True), strict=True):
        recording.name("attention")
        y = recording.core.attention(
            q=recording.x, k=recording.x, v=recording.x,
            layer=0, head_dim=16, scale=0.25, window=0, causal=causal,
        )  # fmt: skip
        core = recording.executor(y)
        found.append(trace(core, [Part(range(9), [5]), Part(range(9, _TOKENS), [2, 3])]))
    whole, causal_rows = (values["attention"] for values in found)
    for first, end in ((0, 9), (9, _TOKENS)):
        for head in (slice(0, 16), slice(16, 32)):
            x = table[first:end, head].astype(np.float64)
            p = np.exp(0.25 * x @ x.T)
            expected = (p / p.sum(axis=1, keepdims=True)) @ x
            np.testing.assert_allclose(whole[first:end, head], expected, atol=1e-5)
        np.testing.assert_array_equal(whole[end - 1], causal_rows[end - 1])


def test_operators_that_do_not_fit() -> None:
    recording = Recording(normal(10, 16))
    graph = recording.core
    for record, message in (
        (
            lambda: graph.layer_norm(x=recording.x, weight=normal(8), bias=normal(8), eps=1e-5),
            "8 weights and 8 biases cannot be applied to rows of width 16",
        ),
        (
            lambda: graph.layer_norm(x=recording.x, weight=normal(16), bias=normal(8), eps=1e-5),
            "16 weights and 8 biases",
        ),
        (lambda: graph.positions(x=recording.x, table=normal(30), first=0), "30 values"),
        (lambda: graph.positions(x=recording.x, table=normal(32), first=2), "from row 2 on"),
    ):
        with pytest.raises(GraphError, match=message):
            record()
    selected = graph.select_outputs(x=recording.x)
    with pytest.raises(GraphError, match="belong to the step's tokens"):
        graph.positions(x=selected, table=normal(32), first=0)
