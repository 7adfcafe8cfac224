"""Records a model as operators on values; the C++ executor runs the record.

A model file calls `Graph` once, when the model is loaded:

    x = x + g.linear(h, "model.layers.0.self_attn.o_proj", c.hidden_size)

Nothing of it runs during a step. Each value keeps its scope and the source line that recorded it,
and a shape that does not fit raises `GraphError` with both, at load.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.rope import RopeFrequencies


class Weights(Protocol):
    """Where a graph's weights come from; `WeightLoader` says what is meant."""

    def has(self, name: str) -> bool: ...

    def vector(self, name: str, size: int) -> npt.NDArray[np.float32]: ...

    def matrix(
        self, name: str, rows: int, columns: int, *, role: str = "linear"
    ) -> _core.Weight: ...

    def experts(self, name: str, experts: int, rows: int, columns: int) -> _core.Weight: ...


@dataclass(frozen=True, slots=True)
class Value:
    """A float32 matrix (rows of the step, width)."""

    graph: Graph
    id: int

    @property
    def width(self) -> int:
        return self.graph.core.width(self.id)

    def __add__(self, other: Value) -> Value:
        return self.graph.add(self, other)


class Graph:
    """The vocabulary of model files. Weights are named as in a Hugging Face checkpoint, without
    their last component: "model.norm" stands for "model.norm.weight"."""

    def __init__(self, weights: Weights) -> None:
        self.core = _core.Graph()
        self.weights = weights
        self._scopes: list[str] = []
        self._counts: dict[str, int] = {}

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefixes the names of values recorded inside. A `name` that starts with "model." stands
        for itself, any other continues the scope around it."""
        self._scopes.append(self._path(name))
        try:
            yield
        finally:
            self._scopes.pop()

    def embedding(self, name: str, rows: int, columns: int, *, factor: float = 1.0) -> Value:
        """(T, columns): rows of the table for the step's token ids, times `factor`."""
        table = self.weights.matrix(f"{name}.weight", rows, columns, role="embedding")
        self._locate(name)
        return self._value(self.core.embedding(table=table, factor=factor))

    def linear(self, x: Value, name: str, rows: int, *, role: str = "linear") -> Value:
        """x Wᵀ with `rows` outputs, plus the bias when the checkpoint has one."""
        weight = self.weights.matrix(f"{name}.weight", rows, x.width, role=role)
        bias = None
        if self.weights.has(f"{name}.bias"):
            bias = self.weights.vector(f"{name}.bias", rows)
        self._locate(name)
        return self._value(self.core.linear(x=x.id, weight=weight, bias=bias))

    def rms_norm(self, x: Value, name: str, size: int, eps: float, *, offset: float = 0.0) -> Value:
        """RMS normalization over runs of `size` values (Zhang and Sennrich 2019), with the weight
        plus `offset`."""
        weight = self.weights.vector(f"{name}.weight", size) + np.float32(offset)
        self._locate(name)
        return self._value(self.core.rms_norm(x=x.id, weight=weight, eps=eps))

    def layer_norm(self, x: Value, name: str, eps: float) -> Value:
        """Layer normalization of whole rows (Ba et al. 2016), with weight and bias."""
        weight = self.weights.vector(f"{name}.weight", x.width)
        bias = self.weights.vector(f"{name}.bias", x.width)
        self._locate(name)
        return self._value(self.core.layer_norm(x=x.id, weight=weight, bias=bias, eps=eps))

    def positions(self, x: Value, table: npt.NDArray[np.float32], *, first: int) -> Value:
        """x plus the row of `table` (P, width of x) for each token's position + `first`."""
        self._locate("positions")
        return self._value(self.core.positions(x=x.id, table=table, first=first))

    def rope_table(self, rope: RopeFrequencies) -> int:
        """A table for `rope`; layers with equal frequencies share one."""
        return self.core.rope_table(frequencies=rope.frequencies, factor=rope.factor)

    def rope(self, x: Value, table: int, head_dim: int) -> Value:
        """Rotary embedding of every head, pairs (i, i + half)."""
        self._locate("rope")
        return self._value(self.core.rope(x=x.id, table=table, head_dim=head_dim))

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        *,
        layer: int,
        head_dim: int,
        scale: float,
        window: int = 0,
        causal: bool = True,
    ) -> Value:
        """Causal attention of q (T, H·D) over k, v (T, Hkv·D) and all that the KV cache of `layer`
        holds of their sequences; `window` > 0 limits it to the last positions. Not causal: a token
        attends to all of its sequence, which must lie whole in the step."""
        self._locate("attention")
        return self._value(
            self.core.attention(
                q=q.id, k=k.id, v=v.id, layer=layer, head_dim=head_dim, scale=scale,
                window=window, causal=causal,
            )
        )  # fmt: skip

    def add(self, a: Value, b: Value) -> Value:
        self._locate("add")
        return self._value(self.core.add(a=a.id, b=b.id))

    def scale(self, x: Value, factor: float) -> Value:
        self._locate("scale")
        return self._value(self.core.scale(x=x.id, factor=factor))

    def soft_cap(self, x: Value, limit: float) -> Value:
        """limit · tanh(x / limit)"""
        self._locate("soft_cap")
        return self._value(self.core.soft_cap(x=x.id, limit=limit))

    def gelu(self, x: Value) -> Value:
        """x · Φ(x), not its tanh form (Hendrycks and Gimpel 2016)."""
        self._locate("gelu")
        return self._value(self.core.gelu(x=x.id))

    def gated(self, gate: Value, up: Value, activation: str) -> Value:
        """activation(gate) · up; "silu" or "gelu_tanh"."""
        self._locate("gated")
        return self._value(self.core.gated(gate=gate.id, up=up.id, activation=activation))

    def experts(
        self,
        x: Value,
        router: Value,
        name: str,
        *,
        inner: int,
        top_k: int,
        normalize: bool,
        activation: str,
    ) -> Value:
        """Mixture of experts: `router` (T, E) logits choose top_k by softmax; `name` holds
        "{e}" for the expert's number. `normalize`: the chosen weights sum to 1."""
        count, width = router.width, x.width
        gate = self.weights.experts(f"{name}.gate_proj", count, inner, width)
        up = self.weights.experts(f"{name}.up_proj", count, inner, width)
        down = self.weights.experts(f"{name}.down_proj", count, width, inner)
        self._locate("experts")
        return self._value(
            self.core.experts(
                x=x.id, router=router.id, gate=gate, up=up, down=down,
                top_k=top_k, normalize=normalize, activation=activation,
            )
        )  # fmt: skip

    def output(self, x: Value) -> Value:
        """The rows whose logits or hidden states are wanted; what is recorded afterwards works on
        those alone."""
        self._locate("output")
        return self._value(self.core.select_outputs(x=x.id))

    def hidden(self, x: Value) -> Value:
        """Names the value just recorded, behind `output`, as the final hidden state, of which
        embeddings are made. What is recorded afterwards serves the logits alone."""
        self.core.set_hidden(hidden=x.id)
        return x

    def vector(self, name: str, size: int) -> npt.NDArray[np.float32]:
        """A small tensor's values, for use while recording."""
        return self.weights.vector(name, size)

    def _value(self, value_id: int) -> Value:
        return Value(self, value_id)

    def _path(self, name: str) -> str:
        nested = self._scopes and not name.startswith("model.")
        return f"{self._scopes[-1]}.{name}" if nested else name

    def _locate(self, name: str) -> None:
        path = self._path(name)
        seen = self._counts.get(path, 0)
        self._counts[path] = seen + 1
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ and frame.f_back is not None:
            frame = frame.f_back  # out of this file, to the line that records
        source = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        self.core.set_location(scope=path if seen == 0 else f"{path}#{seen + 1}", source=source)
