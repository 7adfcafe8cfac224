"""Graphs that do not fit together, and steps that do not fit a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ftllm import _core
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.engine.graph import Graph, Value
from ftllm.engine.names import TensorNames
from ftllm.engine.weights import WeightLoader
from ftllm.errors import GraphError, OptionError, UnsupportedModelError
from tests.engine.models.steps import Part, trace
from tests.golden.rows import load_row, write_model
from tests.graph.recording import Recording, normal, weight

Record = Callable[[_core.Graph, int, int], object]

# A graph with x (T, 32) and y (T, 48); one operator that does not fit it.
_MISFITS: dict[str, tuple[Record, str]] = {
    "linear columns": (
        lambda g, x, y: g.linear(x=x, weight=weight(normal(4, 33)), bias=None),
        "33 columns cannot take rows of width 32",
    ),
    "linear bias": (
        lambda g, x, y: g.linear(x=x, weight=weight(normal(4, 32)), bias=normal(5)),
        "bias and the weight's 4 rows differ",
    ),
    "linear experts": (
        lambda g, x, y: g.linear(x=x, weight=weight(normal(2, 4, 32)), bias=None),
        "one matrix, not experts",
    ),
    "add widths": (lambda g, x, y: g.add(a=x, b=y), "x has width 32, y has width 48"),
    "gated widths": (
        lambda g, x, y: g.gated(gate=x, up=y, activation="silu"),
        "x has width 32, y has width 48",
    ),
    "norm size": (
        lambda g, x, y: g.rms_norm(x=x, weight=normal(5), eps=1e-5),
        "norm of 5 values cannot be applied to rows of width 32",
    ),
    "norm of nothing": (
        lambda g, x, y: g.rms_norm(x=x, weight=normal(0), eps=1e-5),
        "norm of 0 values",
    ),
    "no such table": (
        lambda g, x, y: g.rope(x=x, table=0, head_dim=16),
        "rope table 0 does not exist",
    ),
    "too many pairs": (
        lambda g, x, y: g.rope(
            x=x, table=g.rope_table(frequencies=normal(9), factor=1.0), head_dim=16
        ),
        "cannot rotate 9 pairs in heads of 16",
    ),
    "rope heads": (
        lambda g, x, y: g.rope(
            x=x, table=g.rope_table(frequencies=normal(4), factor=1.0), head_dim=24
        ),
        "heads of 24 values, rows of width 32",
    ),
    "attention head size": (
        lambda g, x, y: g.attention(q=x, k=x, v=x, layer=0, head_dim=8, scale=1.0, window=0),
        "head_dim is 8; it must be a multiple of 16 from 16 to 512",
    ),
    "attention widths": (
        lambda g, x, y: g.attention(q=x, k=y, v=y, layer=0, head_dim=16, scale=1.0, window=0),
        "q, k, v of width 32, 48, 48 do not divide",
    ),
    "attention values": (
        lambda g, x, y: g.attention(q=x, k=x, v=y, layer=0, head_dim=16, scale=1.0, window=0),
        "q, k, v of width 32, 32, 48 do not divide",
    ),
    "attention layer": (
        lambda g, x, y: g.attention(q=x, k=x, v=x, layer=3, head_dim=16, scale=1.0, window=0),
        "attention layer 3 is recorded out of order; expected 0",
    ),
    "no such value": (lambda g, x, y: g.scale(x=99, factor=1.0), "value 99 does not exist"),
    "negative value": (lambda g, x, y: g.add(a=x, b=-1), "value -1 does not exist"),
    "selected twice": (
        lambda g, x, y: g.select_outputs(x=g.select_outputs(x=x)),
        "the outputs are selected already",
    ),
    "mixed rows": (lambda g, x, y: g.add(a=x, b=g.select_outputs(x=x)), "operands differ"),
    "logits before": (lambda g, x, y: g.set_logits(logits=x), "after select_outputs"),
    "top_k": (
        lambda g, x, y: g.experts(
            x=x, router=y, gate=weight(normal(48, 4, 32)), up=weight(normal(48, 4, 32)),
            down=weight(normal(48, 32, 4)), top_k=49, normalize=True, activation="silu",
        ),
        "top_k is 49 of 48 experts",
    ),
    "experts' number": (
        lambda g, x, y: g.experts(
            x=x, router=y, gate=weight(normal(3, 4, 32)), up=weight(normal(3, 4, 32)),
            down=weight(normal(3, 32, 4)), top_k=2, normalize=True, activation="silu",
        ),
        "disagree on the number of experts: 48, 3, 3, 3",
    ),
    "experts' shapes": (
        lambda g, x, y: g.experts(
            x=x, router=y, gate=weight(normal(48, 4, 32)), up=weight(normal(48, 5, 32)),
            down=weight(normal(48, 32, 4)), top_k=2, normalize=True, activation="silu",
        ),
        "shapes do not chain from width 32",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _MISFITS)
def test_an_operator_that_does_not_fit(name: str) -> None:
    """The message has the scope, the recording line and the sizes."""
    record, message = _MISFITS[name]
    recording = Recording(normal(8, 32))
    y = recording.linear(recording.x, normal(48, 32), "y")
    recording.core.set_location(scope="model.layers.3.mlp", source="family.py:17")
    with pytest.raises(GraphError) as caught:
        record(recording.core, recording.x, y)
    assert message in str(caught.value)
    assert str(caught.value).startswith("model.layers.3.mlp (family.py:17): ")


def test_an_unknown_activation_lists_the_known() -> None:
    recording = Recording(normal(8, 32))
    with pytest.raises(UnsupportedModelError, match=r"'relu'.*silu, gelu_tanh"):
        recording.core.gated(gate=recording.x, up=recording.x, activation="relu")


def test_a_graph_without_logits_cannot_run() -> None:
    recording = Recording(normal(8, 32))
    with pytest.raises(GraphError, match="neither logits nor a hidden state"):
        executor(recording.core)


def executor(graph: _core.Graph, **changed: object) -> _core.Executor:
    options: dict[str, object] = {
        "kv_type": "float32", "kv_blocks": 4, "max_tokens": 40, "max_sequences": 3,
    }  # fmt: skip
    return _core.Executor(graph=graph, pool=_core.ThreadPool(threads=1), **{**options, **changed})  # type: ignore[arg-type]


def test_an_unknown_kv_type_lists_the_known() -> None:
    recording = Recording(normal(8, 32))
    recording.executor(recording.x)
    with pytest.raises(OptionError, match=r"'fp8'.*float32, float16, bfloat16 or int8"):
        executor(recording.core, kv_type="fp8")


@pytest.fixture
def loader(tmp_path: Path) -> WeightLoader:
    checkpoint = open_checkpoint(write_model(load_row("llama"), tmp_path / "model"))
    pool = _core.ThreadPool(threads=1)
    return WeightLoader(checkpoint, TensorNames(), dtype="auto", pool=pool)


def test_values_are_named_by_scope_and_numbered_when_they_repeat(loader: WeightLoader) -> None:
    g = Graph(loader)
    x = g.embedding("model.embed_tokens", 256, 64)
    with g.scope("model.layers.0"):
        x = x + x
        x = x + x
        with g.scope("inner"):
            x = g.scale(x, 2.0)
        with g.scope("model.layers.0.mlp"):
            g.linear(g.scale(x, 2.0), "model.layers.0.mlp.up_proj", 96)
    assert g.core.names == [
        "model.embed_tokens",
        "model.layers.0.add",
        "model.layers.0.add#2",
        "model.layers.0.inner.scale",
        "model.layers.0.mlp.scale",
        "model.layers.0.mlp.up_proj",
    ]


def test_an_error_names_the_line_that_records_it(loader: WeightLoader) -> None:
    """The line of the model file, also behind an operator like +."""
    g = Graph(loader)
    x = g.embedding("model.embed_tokens", 256, 64)
    y = g.linear(x, "model.layers.0.mlp.up_proj", 96)

    def misfit(a: Value, b: Value) -> Value:
        return a + b

    with pytest.raises(GraphError) as caught:
        misfit(x, y)
    line = misfit.__code__.co_firstlineno + 1
    assert f"add ({Path(__file__).name}:{line}): operands differ" in str(caught.value)


Arrays = dict[str, object]

# How a sound step of 5 rows, 2 sequences and 2 outputs is broken, and what the refusal says.
_BROKEN_STEPS: dict[str, tuple[Callable[[Arrays], object], str]] = {
    "no rows": (lambda s: s.update(token_ids=np.zeros(0, np.int32)), "0 token rows; 1 to 40"),
    "too many rows": (lambda s: s.update(token_ids=np.zeros(41, np.int32)), "41 token rows"),
    "too many sequences": (
        lambda s: s.update(
            context_lens=np.zeros(4, np.int32), row_starts=np.arange(5, dtype=np.int32),
            block_tables=np.zeros((4, 2), np.int32),
        ),
        "4 sequences",
    ),
    "row starts too short": (
        lambda s: s.update(row_starts=np.array([0, 5], np.int32)), "2 row starts"
    ),
    "row starts from 1": (
        lambda s: s.update(row_starts=np.array([1, 3, 5], np.int32)), "do not cover"
    ),
    "row starts to 4": (
        lambda s: s.update(row_starts=np.array([0, 3, 4], np.int32)), "do not cover"
    ),
    "row starts fall": (
        lambda s: s.update(row_starts=np.array([0, 6, 5], np.int32)), "a sequence has no rows"
    ),
    "an empty sequence": (
        lambda s: s.update(row_starts=np.array([0, 5, 5], np.int32)), "a sequence has no rows"
    ),
    "a token beyond": (
        lambda s: s.update(token_ids=np.array([0, 1, 2, 3, 8], np.int32)), "token id 8"
    ),
    "a negative token": (
        lambda s: s.update(token_ids=np.array([0, 1, -1, 3, 4], np.int32)), "token id -1"
    ),
    "negative context": (
        lambda s: s.update(context_lens=np.array([-1, 0], np.int32)), "a sequence has no rows"
    ),
    "context beyond the table": (
        lambda s: s.update(context_lens=np.array([62, 0], np.int32)), "block table is too short"
    ),
    "huge context": (
        lambda s: s.update(context_lens=np.array([2**31 - 1, 0], np.int32)), "too short"
    ),
    "a missing block": (
        lambda s: s.update(block_tables=np.array([[0, 1], [4, 3]], np.int32)), "KV block 4"
    ),
    "a negative block": (
        lambda s: s.update(block_tables=np.array([[-1, 1], [2, 3]], np.int32)), "KV block -1"
    ),
    "an output beyond": (
        lambda s: s.update(output_rows=np.array([0, 5], np.int32)), "output 1 is malformed"
    ),
    "a negative output": (
        lambda s: s.update(output_rows=np.array([-1, 4], np.int32)), "output 0 is malformed"
    ),
    "a target beyond": (
        lambda s: s.update(output_targets=np.array([8, 0], np.int32)), "output 0 is malformed"
    ),
    "more drafts than rows": (
        lambda s: s.update(output_drafts=np.array([3, 0], np.int32)), "output 0 is malformed"
    ),
    "a negative number of drafts": (
        lambda s: s.update(output_drafts=np.array([0, -1], np.int32)), "output 1 is malformed"
    ),
    "drafts of another length": (
        lambda s: s.update(output_drafts=np.zeros(1, np.int32)), "differ in length"
    ),
    "no sampler": (
        lambda s: s.update(output_targets=np.array([0, -1], np.int32)), "output 1 is malformed"
    ),
    "outputs of different lengths": (
        lambda s: s.update(output_top=np.zeros(3, np.int32)), "differ in length"
    ),
    "samplers of another length": (lambda s: s.update(samplers=(None,)), "differ in length"),
}  # fmt: skip


def sound_step() -> Arrays:
    return {
        "token_ids": np.array([0, 1, 2, 3, 4], np.int32),
        "row_starts": np.array([0, 3, 5], np.int32),
        "context_lens": np.zeros(2, np.int32),
        "block_tables": np.array([[0, 1], [2, 3]], np.int32),
        "output_rows": np.array([2, 4], np.int32),
        "output_targets": np.zeros(2, np.int32),
        "output_top": np.full(2, -1, np.int32),
        "output_drafts": np.zeros(2, np.int32),
        "samplers": (None, None),
    }


@pytest.mark.parametrize("name", _BROKEN_STEPS)
def test_a_step_that_does_not_fit_is_refused(name: str) -> None:
    """Nothing is written: what the cache held is still there."""
    recording = Recording(normal(8, 32))
    y = recording.core.attention(
        q=recording.x, k=recording.x, v=recording.x, layer=0, head_dim=32, scale=1.0, window=0
    )
    recording.executor(y)
    core = executor(recording.core)
    trace(core, [Part([5, 6], [0])])
    before = trace(core, [Part([7], [0], context=2)])
    change, message = _BROKEN_STEPS[name]
    step = sound_step()
    change(step)
    with pytest.raises(GraphError, match="step refused") as caught:
        core.step(**step)  # type: ignore[call-overload]
    assert message in str(caught.value)
    after = trace(core, [Part([7], [0], context=2)])
    for key, value in before.items():
        np.testing.assert_array_equal(after[key], value)
