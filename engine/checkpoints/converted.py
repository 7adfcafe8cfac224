"""A safetensors checkpoint whose quantized weights are several tensors each, seen as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from ftllm import _core
from ftllm.engine.checkpoints.identity import Identity
from ftllm.engine.checkpoints.safetensors import SafetensorsCheckpoint
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError

Parts = Mapping[str, TensorData]
Shape = tuple[int, ...]


class Scheme(Protocol):
    """How a quantization scheme lays out a weight. Stateless after construction."""

    @property
    def codes(self) -> str:
        """The last part of the name of the tensor that holds a weight's codes: "qweight"."""

    @property
    def others(self) -> frozenset[str]:
        """Last parts of the names that go with it; they are not tensors of their own."""

    def is_quantized(self, codes: TensorData) -> bool:
        """Whether a tensor named `codes` holds codes, and not plain values."""

    def layout(self, parts: Parts) -> tuple[Shape, str]:
        """The weight's shape (rows N, columns K) and the weight format that `convert` gives.

        `parts`: by last part of the name. Raises `CheckpointError` or `UnsupportedModelError`.
        """

    def convert(self, parts: Parts) -> bytes:
        """The weight's rows as source blocks of that format."""


class ConvertedCheckpoint:
    """`inner` with each quantized weight as one tensor called STEM.weight; see `Checkpoint`.

    A converted tensor is a copy in memory: it lives as long as its `TensorData`.
    """

    format = "safetensors"

    def __init__(self, inner: SafetensorsCheckpoint, scheme: Scheme) -> None:
        self._inner = inner
        self._scheme = scheme
        self.path = inner.path
        self.config = inner.config
        self.metadata = inner.metadata
        self.generation_config = inner.generation_config
        self._parts: dict[str, dict[str, str]] = {}  # weight -> last part -> tensor
        self._plain: list[str] = []
        self._find_weights()

    def identity(self) -> Identity | None:
        return self._inner.identity()

    def content(self) -> str:
        return self._inner.content()

    def names(self) -> Collection[str]:
        return [*self._plain, *self._parts]

    def tensor(self, name: str) -> TensorData:
        if name not in self._parts:
            return self._inner.tensor(name)
        parts = self._read(name)
        shape, dtype = self._scheme.layout(parts)
        data = self._scheme.convert(parts)
        for part in self._parts[name].values():
            self._inner.release(part)
        return TensorData(name, shape, dtype, memoryview(data))

    def layout(self, name: str) -> tuple[Shape, str]:
        if name not in self._parts:
            return self._inner.layout(name)
        return self._scheme.layout(self._read(name))

    def tensor_bytes(self, name: str) -> int:
        if name not in self._parts:
            return self._inner.tensor_bytes(name)
        shape, dtype = self.layout(name)
        columns, size = _core.format_block(dtype)
        return shape[0] * -(-shape[1] // columns) * size

    def release(self, name: str) -> None:
        for part in self._parts.get(name, {"": name}).values():
            self._inner.release(part)

    def close(self) -> None:
        self._inner.close()

    def _find_weights(self) -> None:
        names = frozenset(self._inner.names())
        for name in names:
            stem, _, last = name.rpartition(".")
            if last == self._scheme.codes and self._scheme.is_quantized(
                self._inner.raw_tensor(name)
            ):
                found = {
                    other: f"{stem}.{other}"
                    for other in self._scheme.others
                    if f"{stem}.{other}" in names
                }
                self._parts[f"{stem}.weight"] = {last: name, **found}
            elif last not in self._scheme.others:
                self._plain.append(name)

    def _read(self, name: str) -> Parts:
        return {last: self._inner.raw_tensor(part) for last, part in self._parts[name].items()}


def required(parts: Parts, last: str) -> TensorData:
    """The part of a weight called `last`. Raises `CheckpointError` naming what is missing."""
    if last not in parts:
        stem = next(iter(parts.values())).name.rpartition(".")[0]
        raise CheckpointError(f"tensor {stem + '.' + last!r} is missing beside {', '.join(parts)}")
    return parts[last]
