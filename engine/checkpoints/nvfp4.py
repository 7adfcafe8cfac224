"""NVFP4 checkpoints: E2M1 codes, an E4M3 scale for 16 columns, a float32 scale for the tensor.

compressed-tensors: weight_packed (N, K / 2) u8, the even column in the low nibble;
    weight_scale (N, K / 16) f8_e4m3; weight_global_scale (1,) f32, which divides
ModelOpt: weight, weight_scale, weight_scale_2, which multiplies
"""

from __future__ import annotations

import numpy as np

from ftllm.engine.checkpoints.converted import Parts, Shape, required
from ftllm.engine.checkpoints.part_arrays import codes, scales
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError

_COLUMNS = 256  # of a source block of the weight format nvfp4


class Nvfp4:
    """See `Scheme`. `packed`: "weight_packed" (compressed-tensors) or "weight" (ModelOpt)."""

    def __init__(self, packed: str) -> None:
        self.codes = packed
        self.others = frozenset(
            {"weight_scale", "weight_global_scale", "weight_scale_2"}
            | {"input_scale", "input_global_scale", "k_scale", "v_scale"}
        )

    def is_quantized(self, codes: TensorData) -> bool:
        return codes.dtype == "u8"

    def layout(self, parts: Parts) -> tuple[Shape, str]:
        packed, scale = required(parts, self.codes), required(parts, "weight_scale")
        rows, half = packed.shape if len(packed.shape) == 2 else (0, 0)
        if rows < 1 or half % 8 or scale.shape != (rows, half // 8) or scale.dtype != "f8_e4m3":
            raise CheckpointError(
                f"tensor {packed.name!r} of shape {packed.shape} does not go with a {scale.dtype}"
                f" weight_scale of shape {scale.shape}"
            )
        return (rows, 2 * half), "nvfp4"

    def convert(self, parts: Parts) -> bytes:
        (rows, columns), _ = self.layout(parts)
        blocks = -(-columns // _COLUMNS)
        made = np.zeros((rows, blocks, 4 + 16 + _COLUMNS // 2), np.uint8)
        made[:, :, :4] = np.array([self._factor(parts)], "<f4").view(np.uint8)
        group_scales = np.zeros((rows, blocks * 16), np.uint8)
        group_scales[:, : columns // 16] = codes(parts["weight_scale"])
        made[:, :, 4:20] = group_scales.reshape(rows, blocks, 16)
        nibbles = np.zeros((rows, blocks * _COLUMNS // 2), np.uint8)
        nibbles[:, : columns // 2] = codes(parts[self.codes])
        made[:, :, 20:] = nibbles.reshape(rows, blocks, _COLUMNS // 2)
        return made.tobytes()

    def _factor(self, parts: Parts) -> float:
        divides = self.codes == "weight_packed"
        tensor = required(parts, "weight_global_scale" if divides else "weight_scale_2")
        scale = scales(tensor)
        if scale.size != 1 or not scale.item() > 0.0:
            raise CheckpointError(f"tensor {tensor.name!r} is {scale}; one positive scale belongs")
        factor = scale.reshape(1)
        return float((1 / factor if divides else factor)[0])  # rounded to float32 once
