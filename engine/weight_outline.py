"""What a model's weights will take when packed, found before any of them is read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.checkpoints.checkpoint import Checkpoint
from ftllm.engine.names import TensorNames, expert_name, stacked_name
from ftllm.engine.weights import packed_format, weight_format


class WeightOutline:
    """Stands in for `WeightLoader` while a model is recorded to learn its size: weights have their
    shapes and formats, and address space that nothing fills. Vectors are ones."""

    def __init__(self, checkpoint: Checkpoint, names: TensorNames, *, dtype: str) -> None:
        self._checkpoint = checkpoint
        self._names = names
        self._format = weight_format(dtype)
        self._present = frozenset(checkpoint.names())
        self._arena = _core.Arena()
        self._matrices: dict[str, _core.Weight] = {}

    @property
    def packed_bytes(self) -> int:
        return sum(weight.nbytes for weight in self._matrices.values())

    @property
    def address_space(self) -> int:
        """Bytes that packing will reserve, `packed_bytes` or more."""
        return self._arena.nbytes

    def has(self, name: str) -> bool:
        return self._names(name) in self._present

    def vector(self, name: str, size: int) -> npt.NDArray[np.float32]:
        self._checkpoint.layout(self._names(name))  # raises when there is none
        return np.ones(size, np.float32)

    def matrix(self, name: str, rows: int, columns: int, *, role: str = "linear") -> _core.Weight:
        if name not in self._matrices:
            _, stored = self._checkpoint.layout(self._names(name))
            self._matrices[name] = self._weight(stored, role, 1, rows, columns)
        return self._matrices[name]

    def experts(self, name: str, experts: int, rows: int, columns: int) -> _core.Weight:
        if name not in self._matrices:
            source = self._names(stacked_name(name))
            if source not in self._present:
                source = self._names(expert_name(name, 0))
            _, stored = self._checkpoint.layout(source)
            self._matrices[name] = self._weight(stored, "linear", experts, rows, columns)
        return self._matrices[name]

    def _weight(
        self, stored: str, role: str, experts: int, rows: int, columns: int
    ) -> _core.Weight:
        return _core.Weight(
            format=packed_format(self._format, stored, role),
            rows=rows,
            columns=columns,
            experts=experts,
            arena=self._arena,
        )
