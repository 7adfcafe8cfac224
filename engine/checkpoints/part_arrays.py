"""The parts of quantized weights as NumPy arrays, and source blocks made of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError, UnsupportedModelError

Bytes = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]


def integers(tensor: TensorData) -> Int32Array:
    """An i32 or i64 tensor in its shape."""
    if tensor.dtype not in ("i32", "i64"):
        raise CheckpointError(f"tensor {tensor.name!r} is {tensor.dtype}; i32 is expected")
    stored = np.frombuffer(tensor.data, "<i4" if tensor.dtype == "i32" else "<i8")
    return stored.reshape(tensor.shape).astype(np.int32, copy=False)


def codes(tensor: TensorData) -> Bytes:
    """A tensor of one-byte elements in its shape, as it is."""
    return np.frombuffer(tensor.data, np.uint8).reshape(tensor.shape)


def scales(tensor: TensorData) -> Float32Array:
    """Scales of any dtype in their shape. Raises `CheckpointError` for other dtypes."""
    if tensor.dtype == "bf16":
        values = (np.frombuffer(tensor.data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif tensor.dtype in ("f16", "f32"):
        values = np.frombuffer(tensor.data, "<f2" if tensor.dtype == "f16" else "<f4")
    elif tensor.dtype == "f8_e8m0":  # 2^(e - 127); 255 is NaN
        exponents = np.frombuffer(tensor.data, np.uint8).astype(np.int32)
        values = np.ldexp(np.float32(1), exponents - 127)
        values = np.where(exponents == 255, np.float32(np.nan), values)
    else:
        raise CheckpointError(
            f"tensor {tensor.name!r} is {tensor.dtype}; scales are f32, f16, bf16 or f8_e8m0"
        )
    return values.astype(np.float32).reshape(tensor.shape)


def block_columns(group: int) -> int:
    """Columns of an int4z block for groups of `group` columns: 128, 64 or 32.

    Raises `UnsupportedModelError` when none fits into the group evenly.
    """
    for columns in (128, 64, 32):
        if group % columns == 0:
            return columns
    raise UnsupportedModelError(f"group_size is {group}; supported are -1 and multiples of 32")


def int4z_blocks(
    nibbles: Bytes, scale: Float32Array, zero: Int32Array, *, columns: int, group: int, name: str
) -> bytes:
    """Source blocks of int4z.

    `nibbles`: (N, K / 2), the even column in the low nibble. `scale`, `zero`: (N, K / group).
    `columns`: of a block, from `block_columns`.
    """
    rows, half = nibbles.shape
    blocks = -(-2 * half // columns)
    half_scale = scale.astype("<f2")
    if not (half_scale.astype(np.float32) == scale).all():
        raise UnsupportedModelError(
            f"tensor {name!r} has scales that binary16 cannot hold; dequantize the checkpoint and"
            " convert it with --dtype int4g"
        )
    place = np.arange(blocks) * columns // group  # (blocks,) the group of each block
    made = np.zeros((rows, blocks, 4 + columns // 2), np.uint8)
    made[:, :, :2] = half_scale[:, place, None].view(np.uint8)
    made[:, :, 2] = zero[:, place]
    padded = np.zeros((rows, blocks * columns // 2), np.uint8)
    padded[:, :half] = nibbles
    made[:, :, 4:] = padded.reshape(rows, blocks, columns // 2)
    return made.tobytes()
