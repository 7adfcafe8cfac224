"""What every checkpoint format offers to the loader."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from ftllm.engine.checkpoints.identity import Identity
from ftllm.engine.checkpoints.tensor import TensorData


class Checkpoint(Protocol):
    """Open weights with their configuration. Reading is safe from any thread until `close`."""

    @property
    def path(self) -> Path:
        """The file or folder that was opened."""

    @property
    def format(self) -> str:
        """ "gguf" or "safetensors"."""

    @property
    def config(self) -> Mapping[str, object]:
        """The content of config.json, for GGUF the same keys built from its metadata."""

    @property
    def metadata(self) -> Mapping[str, object]:
        """GGUF key/values; empty for safetensors."""

    @property
    def generation_config(self) -> Mapping[str, object]:
        """The content of generation_config.json; empty when there is none."""

    def identity(self) -> Identity | None:
        """Found without reading the files whole; None when they changed since they were opened, or
        too shortly before."""

    def content(self) -> str:
        """A digest of all the files' bytes; reads them all."""

    def names(self) -> Collection[str]:
        """All tensor names."""

    def tensor(self, name: str) -> TensorData:
        """The tensor's bytes. Raises `CheckpointError` naming near matches when there is no such
        tensor, `UnsupportedModelError` when its number format is not supported."""

    def layout(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and dtype of `tensor(name)`, found without reading it; raises like it."""

    def tensor_bytes(self, name: str) -> int:
        """The length of `tensor(name).data`, found without reading it; raises like it."""

    def release(self, name: str) -> None:
        """The tensor's pages are no longer needed; reading it again is allowed, and slow."""

    def close(self) -> None:
        """Unmap the files. Views that are still held keep their file mapped. Idempotent."""


def source_bytes(checkpoint: Checkpoint) -> int:
    """Of all its tensors. Raises as `tensor_bytes` does."""
    return sum(checkpoint.tensor_bytes(name) for name in checkpoint.names())
