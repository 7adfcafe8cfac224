"""Checkpoints: weights and configuration as they lie on disk, memory-mapped and checked."""

from __future__ import annotations

from pathlib import Path

from ftllm.engine.checkpoints.checkpoint import Checkpoint, source_bytes
from ftllm.engine.checkpoints.converted import ConvertedCheckpoint
from ftllm.engine.checkpoints.gguf import GgufCheckpoint, split_parts
from ftllm.engine.checkpoints.hf_config import read_config, read_generation_config
from ftllm.engine.checkpoints.quantization import find_scheme
from ftllm.engine.checkpoints.safetensors import (
    INDEX_NAME,
    SINGLE_NAME,
    SafetensorsCheckpoint,
)
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError, UnsupportedModelError

__all__ = [
    "Checkpoint",
    "TensorData",
    "open_checkpoint",
    "read_config",
    "read_generation_config",
    "source_bytes",
]


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a .gguf file (any part of a split set) or a folder in Hugging Face's layout.

    A folder without safetensors that holds exactly one .gguf (or one split set) opens as GGUF.
    Raises `CheckpointError` for what is missing or damaged.
    """
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise CheckpointError(f"{path}: no such file or folder")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: give the folder {path.parent}, which has its config.json")
    return GgufCheckpoint(path)


def _open_folder(folder: Path) -> Checkpoint:
    if (folder / SINGLE_NAME).exists() or (folder / INDEX_NAME).exists():
        checkpoint = SafetensorsCheckpoint(folder)
        try:
            scheme = find_scheme(checkpoint.config)
            return checkpoint if scheme is None else ConvertedCheckpoint(checkpoint, scheme)
        except BaseException:
            checkpoint.close()
            raise
    files = sorted(file for file in folder.iterdir() if file.suffix == ".gguf")
    firsts = sorted({split_parts(file)[0] for file in files})
    if len(firsts) == 1:
        return GgufCheckpoint(firsts[0])
    if firsts:
        names = ", ".join(file.name for file in firsts)
        raise CheckpointError(f"{folder}: several GGUF models, give one of the files: {names}")
    if any(folder.glob("pytorch_model*.bin")):
        raise UnsupportedModelError(
            f"{folder}: weights in PyTorch's .bin files are not supported; convert to safetensors"
        )
    raise CheckpointError(f"{folder}: neither {SINGLE_NAME}, nor {INDEX_NAME}, nor a .gguf file")
