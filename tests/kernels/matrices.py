"""Weights of every format with known values, for tests of kernels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ftllm import _core
from tests.formats.gguf_blocks import BLOCK_FORMATS, random_blocks

Float32Array = npt.NDArray[np.float32]

FLOAT_FORMATS = ("f32", "f16", "bf16", "fp8")


def source_columns(name: str) -> int:
    """The smallest K that the format takes: its block where a GGUF file stores it, else 1."""
    return _core.format_block(name)[0] if name in BLOCK_FORMATS else 1


def random_weight(name: str, rows: int, columns: int, seed: int) -> _core.Weight:
    """Values of about 1; block formats of GGUF from random blocks, the others from float32."""
    if name in BLOCK_FORMATS:
        count = rows * columns // _core.format_block(name)[0]
        return packed(name, rows, columns, random_blocks(name, count, seed).tobytes(), name)
    values = np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
    return packed(name, rows, columns, values.tobytes(), "f32")


def packed(
    name: str,
    rows: int,
    columns: int,
    data: bytes,
    source: str,
    *,
    order: npt.NDArray[np.int64] | None = None,
) -> _core.Weight:
    weight = _core.Weight(format=name, rows=rows, columns=columns)
    weight.fill(
        first_row=0,
        count=rows,
        source=source,
        data=memoryview(data),
        order=order,
        pool=_core.ThreadPool(threads=2),
    )
    return weight


def quantize(x: Float32Array) -> tuple[npt.NDArray[np.int8], Float32Array]:
    """Activations as block formats see them, (M, K) to codes (M, K') and scales (M, K' / 32):
    scale = max|x| / 127 of 32 columns, codes rounded to even."""
    padded = np.zeros((len(x), -(-x.shape[1] // 32) * 32), np.float32)
    padded[:, : x.shape[1]] = x
    blocks = padded.reshape(len(x), -1, 32)
    peaks = np.abs(blocks).max(axis=2)
    with np.errstate(divide="ignore"):
        factors = np.where(peaks == 0, np.float32(0), np.float32(127) / peaks)
    codes = np.rint(blocks * factors[:, :, None]).astype(np.int8)
    return codes.reshape(padded.shape), peaks / np.float32(127)
