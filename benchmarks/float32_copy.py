"""A GGUF file with every tensor dequantized to float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from model_files import TensorPlan, write_gguf

from ftllm import _core
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.engine.checkpoints.checkpoint import Checkpoint

_ALL_F32 = 0  # of general.file_type


def write_float32_copy(source: Path, target: Path) -> None:
    checkpoint = open_checkpoint(source)
    try:
        pool = _core.ThreadPool(threads=2)
        shapes = {name: tuple(checkpoint.tensor(name).shape) for name in checkpoint.names()}
        part = target.with_suffix(".part")
        write_gguf(
            part,
            {**checkpoint.metadata, "general.file_type": _ALL_F32},
            [TensorPlan(name, shape, "f32") for name, shape in shapes.items()],
            lambda plan: _dequantized(checkpoint, plan, pool),
        )
        part.rename(target)  # a stopped run leaves no half a file
    finally:
        checkpoint.close()


def matrix_columns(path: Path) -> dict[str, int]:
    """The columns of every matrix."""
    checkpoint = open_checkpoint(path)
    try:
        shapes = {name: checkpoint.tensor(name).shape for name in checkpoint.names()}
    finally:
        checkpoint.close()
    return {name: shape[-1] for name, shape in shapes.items() if len(shape) > 1}


def _dequantized(
    checkpoint: Checkpoint, plan: TensorPlan, pool: _core.ThreadPool
) -> Iterator[bytes]:
    tensor = checkpoint.tensor(plan.name)
    columns = plan.shape[-1]
    rows = int(np.prod(plan.shape)) // columns
    weight = _core.Weight(format="f32", rows=rows, columns=columns)
    weight.fill(first_row=0, count=rows, source=tensor.dtype, data=tensor.data, pool=pool)
    yield weight.unpack().astype("<f4").tobytes()
