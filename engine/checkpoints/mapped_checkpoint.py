"""What checkpoints of memory-mapped files share: finding, viewing and releasing tensors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ftllm.engine.checkpoints.identity import Identity, content, identity
from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.engine.checkpoints.tensor import (
    TensorData,
    TensorEntry,
    missing_tensor,
    require_supported,
)


class MappedCheckpoint:
    """The tensor half of `Checkpoint`. A format fills `_files` and `_entries`."""

    def __init__(self, where: Path) -> None:
        self._where = where
        self._entries: dict[str, tuple[MappedFile, TensorEntry]] = {}
        self._files: list[MappedFile] = []

    @property
    def path(self) -> Path:
        return self._where

    def identity(self) -> Identity | None:
        return identity(list(self._entries.values()))

    def content(self) -> str:
        return content(list(self._entries.values()))

    def names(self) -> Collection[str]:
        return self._entries.keys()

    def tensor(self, name: str) -> TensorData:
        require_supported(self._find(name)[1])
        return self.raw_tensor(name)

    def raw_tensor(self, name: str) -> TensorData:
        """Like `tensor`, of any dtype whose length is known ("i32", "f8_e4m3" …): the parts that a
        quantization scheme makes a weight of."""
        file, entry = self._find(name)
        return TensorData(name, entry.shape, entry.dtype, file.buffer[entry.start : entry.end])

    def layout(self, name: str) -> tuple[tuple[int, ...], str]:
        entry = self._find(name)[1]
        require_supported(entry)
        return entry.shape, entry.dtype

    def tensor_bytes(self, name: str) -> int:
        return len(self.tensor(name).data)

    def release(self, name: str) -> None:
        file, entry = self._find(name)
        file.release(entry.start, entry.end)

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files = []
        self._entries = {}

    def _find(self, name: str) -> tuple[MappedFile, TensorEntry]:
        try:
            return self._entries[name]
        except KeyError:
            raise missing_tensor(name, self._entries, str(self._where)) from None
