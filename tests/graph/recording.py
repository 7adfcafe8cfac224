"""Records small graphs on `_core.Graph` and runs them, without a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ftllm import _core
from tests.engine.models.steps import Part, trace
from tests.kernels.matrices import packed

Float32Array = npt.NDArray[np.float32]


def normal(*shape: int, seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weight(values: Float32Array, name: str = "f32") -> _core.Weight:
    """(N, K), or (E, N, K) for experts."""
    if values.ndim == 2:
        rows, columns = values.shape
        return packed(name, rows, columns, values.tobytes(), "f32")
    experts, rows, columns = values.shape
    stacked = _core.Weight(format=name, rows=rows, columns=columns, experts=experts)
    for expert, matrix in enumerate(values):
        stacked.fill(
            expert=expert,
            first_row=0,
            count=rows,
            source="f32",
            data=memoryview(np.ascontiguousarray(matrix).tobytes()),
            pool=_core.ThreadPool(threads=1),
        )
    return stacked


class Recording:
    """A graph whose step's rows come from a table: row i of the table is token i's input."""

    def __init__(self, table: Float32Array, *, factor: float = 1.0) -> None:
        self.core = _core.Graph()
        self.count = len(table)
        self.name("x")
        self.x = self.core.embedding(table=weight(table), factor=factor)

    def name(self, scope: str) -> None:
        self.core.set_location(scope=scope, source="test.py:1")

    def linear(
        self, x: int, values: Float32Array, name: str, *, bias: Float32Array | None = None
    ) -> int:
        self.name(name)
        return self.core.linear(x=x, weight=weight(values), bias=bias)

    def executor(
        self, last: int, *, threads: int = 1, kv_type: str = "float32", max_tokens: int = 256
    ) -> _core.Executor:
        """`last` becomes the logits, one for each token id at least."""
        self.name("selected")
        selected = self.core.select_outputs(x=last)
        head = np.zeros((self.count, self.core.width(last)), np.float32)
        self.core.set_logits(logits=self.linear(selected, head, "logits"))
        return _core.Executor(
            graph=self.core,
            pool=_core.ThreadPool(threads=threads),
            kv_type=kv_type,
            kv_blocks=16,
            max_tokens=max_tokens,
            max_sequences=8,
        )

    def run(self, last: int, *, threads: int = 1) -> Mapping[str, Float32Array]:
        """Every value by name, for a step over all tokens of the table in order."""
        core = self.executor(last, threads=threads)
        blocks = list(range(-(-self.count // _core.KV_BLOCK_SIZE)))
        return trace(core, [Part(list(range(self.count)), blocks)])
