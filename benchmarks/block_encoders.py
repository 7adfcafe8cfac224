"""Number formats as files store them, from float32: for model files that benchmarks make up.

Plain rounding, no search for better scales. Layouts are those of GGUF:
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Encoder:
    """`encode` turns (blocks, `columns`) values into (blocks, `size`) bytes."""

    gguf_type: int  # the number of the type in a GGUF file
    columns: int
    size: int
    encode: Callable[[Float32Array], Bytes]


def _f32(x: Float32Array) -> Bytes:
    return np.ascontiguousarray(x, "<f4").view(np.uint8)


def _bf16(x: Float32Array) -> Bytes:
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)  # to nearest, ties to even
    return (rounded >> 16).astype("<u2").view(np.uint8)


def _q8_0(x: Float32Array) -> Bytes:
    scale = _half(np.abs(x).max(axis=1) / 127)
    codes = np.rint(x * _inverse(scale)).clip(-127, 127).astype(np.int8)
    return _join(scale, codes)


def _q4_0(x: Float32Array) -> Bytes:
    scale = _half(_extreme(x) / -8)
    codes = (np.rint(x * _inverse(scale)) + 8).clip(0, 15).astype(np.uint8)
    return _join(scale, codes[:, :16] | codes[:, 16:] << 4)


def _q4_k(x: Float32Array) -> Bytes:
    groups = x.reshape(-1, 8, 32)
    mins = np.maximum(0, -groups.min(axis=2))
    scales = np.maximum(0, groups.max(axis=2) + mins) / 15
    scale = _half(scales.max(axis=1) / 63)
    low = _half(mins.max(axis=1) / 63)
    group_scale = np.rint(scales * _inverse(scale)).clip(0, 63).astype(np.uint8)
    group_min = np.rint(mins * _inverse(low)).clip(0, 63).astype(np.uint8)
    step = scale.astype(np.float32)[:, None] * group_scale
    shift = low.astype(np.float32)[:, None] * group_min
    codes = np.rint((groups + shift[:, :, None]) * _inverse(step)[:, :, None]).clip(0, 15)
    codes = codes.astype(np.uint8)
    first, last = slice(0, 4), slice(4, 8)  # six bits of the first four groups lie whole
    packed = (
        group_scale[:, first] | group_scale[:, last] >> 4 << 6,
        group_min[:, first] | group_min[:, last] >> 4 << 6,
        (group_scale[:, last] & 15) | (group_min[:, last] & 15) << 4,
    )
    nibbles = codes[:, 0::2] | codes[:, 1::2] << 4
    return _join(scale, low, *packed, nibbles.reshape(-1, 128))


def _q6_k(x: Float32Array) -> Bytes:
    groups = x.reshape(-1, 16, 16)
    scales = _extreme(groups.reshape(-1, 16)).reshape(-1, 16) / -32
    scale = _half(np.abs(scales).max(axis=1) / 127)
    group_scale = np.rint(scales * _inverse(scale)).clip(-127, 127).astype(np.int8)
    step = scale.astype(np.float32)[:, None] * group_scale
    codes = (np.rint(groups * _inverse(step)[:, :, None]) + 32).clip(0, 63).astype(np.uint8)
    quarters = codes.reshape(-1, 2, 4, 32)  # halves of 128 columns, quarters of 32
    nibbles = (quarters[:, :, :2] & 15) | (quarters[:, :, 2:] & 15) << 4
    high = quarters >> 4
    high = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    return _join(nibbles.reshape(-1, 128), high.reshape(-1, 64), group_scale, scale)


ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        "f32": Encoder(0, 1, 4, _f32),
        "bf16": Encoder(30, 1, 2, _bf16),
        "q8_0": Encoder(8, 32, 34, _q8_0),
        "q4_0": Encoder(2, 32, 18, _q4_0),
        "q4_k": Encoder(12, 256, 144, _q4_k),
        "q6_k": Encoder(14, 256, 210, _q6_k),
    }
)


def encode(values: Float32Array, dtype: str) -> Bytes:
    """(N, K) values as (N, bytes of a row); K must be a whole number of the format's blocks."""
    encoder = ENCODERS[dtype]
    rows, columns = values.shape
    if columns % encoder.columns:
        raise ValueError(f"{dtype} has blocks of {encoder.columns} columns; {columns} do not fit")
    blocks = encoder.encode(values.reshape(-1, encoder.columns))
    return blocks.reshape(rows, columns // encoder.columns * encoder.size)


def _half(x: Float32Array) -> npt.NDArray[np.float16]:
    return x.astype("<f2")


def _inverse(x: npt.NDArray[np.floating]) -> Float32Array:
    wide = x.astype(np.float32)
    inverse = np.divide(1, wide, out=np.zeros_like(wide), where=wide != 0)
    return inverse[:, None] if inverse.ndim == 1 else inverse


def _extreme(x: Float32Array) -> Float32Array:
    """The value of largest magnitude of each row, with its sign."""
    return np.take_along_axis(x, np.abs(x).argmax(axis=1)[:, None], axis=1)[:, 0]


def _join(*fields: npt.NDArray[np.generic]) -> Bytes:
    """One record a row, its fields one after the other."""
    views = [np.ascontiguousarray(field).view(np.uint8) for field in fields]
    return np.concatenate([view.reshape(len(fields[0]), -1) for view in views], axis=1)
