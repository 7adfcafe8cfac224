"""Whole models in the quantization schemes of safetensors."""

from __future__ import annotations

from pathlib import Path

from tests.checkpoints.files import Tensor, write_safetensors
from tests.checkpoints.quantized_parts import CASES, Stored
from tests.golden.rows import load_row
from tests.golden.weights import make_weights


def write_golden(folder: Path, name: str, *, exact: bool) -> Path:
    """The golden llama with every matrix of its layers quantized; `exact`: as plain values."""
    row, case = load_row("llama"), CASES[name]
    tensors: list[Tensor] = []
    for key, values in make_weights(row.config, row.seed).items():
        stored = Stored((), values)
        if values.ndim == 2 and ".layers." in key:
            stored = case.store(key.removesuffix(".weight"), values)
        if exact or not stored.parts:
            data = stored.values.astype("<f4").tobytes()
            stored = Stored((Tensor(key, values.shape, "F32", data),), stored.values)
        tensors += stored.parts
    settings = {} if exact else {"quantization_config": case.settings}
    return write_safetensors(folder, [tensors], config={**row.config, **settings})
