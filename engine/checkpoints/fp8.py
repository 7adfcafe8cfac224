"""FP8 (E4M3) checkpoints: one byte a weight, scales for 128 by 128 squares, rows, or all.

DeepSeek's and Qwen's: weight (N, K) f8_e4m3, weight_scale_inv (N / 128, K / 128)
FBGEMM's and compressed-tensors': weight_scale (N, 1) or (1,), or squares as above

The name ending in "inv" notwithstanding, both multiply.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftllm.engine.checkpoints.converted import Parts, Shape
from ftllm.engine.checkpoints.part_arrays import Float32Array, codes, scales
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError, UnsupportedModelError

_COLUMNS = 128  # of a source block of the weight format fp8


class Fp8:
    """The scheme of one config.json; see `Scheme`."""

    codes = "weight"
    others = frozenset({"weight_scale_inv", "weight_scale", "input_scale", "activation_scale"})

    def __init__(self, settings: Mapping[str, object]) -> None:
        block = settings.get("weight_block_size") or [128, 128]
        if (
            not isinstance(block, list)
            or len(block) != 2
            or not all(isinstance(size, int) and size > 0 for size in block)
            or block[1] % _COLUMNS
        ):
            raise UnsupportedModelError(
                f"weight_block_size is {block!r}; supported are [N, K] with K a multiple of 128"
            )
        self._rows, self._columns = block

    def is_quantized(self, codes: TensorData) -> bool:
        return codes.dtype == "f8_e4m3"

    def layout(self, parts: Parts) -> tuple[Shape, str]:
        weight = parts["weight"]
        if len(weight.shape) != 2:
            raise CheckpointError(f"tensor {weight.name!r} has shape {weight.shape}, not (N, K)")
        return weight.shape, "fp8"

    def convert(self, parts: Parts) -> bytes:
        weight = codes(parts["weight"])
        rows, columns = weight.shape
        blocks = -(-columns // _COLUMNS)
        made = np.zeros((rows, blocks, 4 + _COLUMNS), np.uint8)
        spread = np.empty((rows, blocks, 1), np.float32)
        spread[:, :, 0] = self._scales(parts, rows, columns)
        made[:, :, :4] = spread.astype("<f4").view(np.uint8)
        whole = columns // _COLUMNS
        made[:, :whole, 4:] = weight[:, : whole * _COLUMNS].reshape(rows, whole, _COLUMNS)
        if whole < blocks:
            made[:, whole, 4 : 4 + columns % _COLUMNS] = weight[:, whole * _COLUMNS :]
        return made.tobytes()

    def _scales(self, parts: Parts, rows: int, columns: int) -> Float32Array:
        """What spreads over (rows, blocks of 128 columns)."""
        tensor = parts.get("weight_scale_inv", parts.get("weight_scale"))
        if tensor is None:
            return np.ones((1, 1), np.float32)
        scale = scales(tensor)
        if scale.size == 1:
            return scale.reshape(1, 1)
        if scale.shape in ((rows,), (rows, 1)):
            return scale.reshape(rows, 1)
        if scale.shape != (-(-rows // self._rows), -(-columns // self._columns)):
            raise CheckpointError(
                f"tensor {tensor.name!r} of shape {scale.shape} does not go with a weight of shape"
                f" {(rows, columns)} in blocks of {(self._rows, self._columns)}"
            )
        tall = np.repeat(scale, self._rows, axis=0)[:rows]
        place = np.arange(-(-columns // _COLUMNS)) * _COLUMNS // self._columns
        wide: Float32Array = tall[:, place]
        return wide
