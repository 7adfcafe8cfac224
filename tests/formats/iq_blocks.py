"""GGUF's IQ1, IQ2 and IQ3 formats in NumPy, written from their layout in ggml.

https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h (block_iq2_xxs to block_iq1_m)

Their grids are in iq_grids.npz: for each format the (points, columns of a point) magnitudes, for
iq1_s (and iq1_m) the values -1, 0 and 1, as the `gguf` package of llama.cpp (0.19) decodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]


def _load_grids() -> Mapping[str, Ints]:
    with np.load(Path(__file__).parent / "iq_grids.npz") as grids:
        return {name: grids[name].astype(np.int32) for name in grids}


_GRIDS = _load_grids()


def _words(packed: Bytes, dtype: str) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(packed).view(dtype).astype(np.int64)


def _half(blocks: Bytes) -> Float32Array:
    """(count, 1): the block's scale, in its first two bytes."""
    return np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Ints:
    """(count, n) to (count, 2n), the low nibble of each byte first."""
    return np.stack([packed & 15, packed >> 4], axis=2).reshape(len(packed), -1).astype(np.int32)


def _bits(packed: Bytes, width: int, columns: int) -> Ints:
    """Fields of `width` bits, the lowest first, of each of n bytes: (count, n · columns)."""
    fields = (packed[:, :, None] >> (width * np.arange(columns))) & ((1 << width) - 1)
    return fields.reshape(len(packed), -1).astype(np.int32)


def _signs(bits: Bytes) -> Ints:
    """(count, 32) bytes to (count, 256) of 1 and -1."""
    return 1 - 2 * np.unpackbits(bits, axis=1, bitorder="little").astype(np.int32)


def _seven_signs(bits: npt.NDArray[np.int64]) -> Ints:
    """(count, 32) of seven bits, the eighth makes their number even; to (count, 256)."""
    parity = np.zeros_like(bits)
    for place in range(7):
        parity ^= (bits >> place) & 1
    return _signs((bits | parity << 7).astype(np.uint8))


def _scaled(scales: Float32Array, values: Ints) -> Float32Array:
    """scales (count, groups), values (count, 256)"""
    grouped = values.reshape(*scales.shape, -1).astype(np.float32)
    return (scales[:, :, None] * grouped).reshape(len(values), 256)


def _points(name: str, numbers: npt.NDArray[np.generic]) -> Ints:
    return _GRIDS[name][numbers.astype(np.int64)].reshape(len(numbers), 256)


def _iq2_xxs(b: Bytes) -> Float32Array:
    groups = b[:, 2:].reshape(-1, 8, 8)
    words = _words(groups[:, :, 4:].reshape(-1, 32), "<u4")  # (count, 8)
    signs = (words[:, :, None] >> (7 * np.arange(4))) & 127
    values = _points("iq2_xxs", groups[:, :, :4].reshape(-1, 32))
    scales = _half(b) * (0.5 + (words >> 28)).astype(np.float32) * np.float32(0.25)
    return _scaled(scales, values * _seven_signs(signs.reshape(-1, 32)))


def _iq2_scales(b: Bytes, packed: Bytes) -> Float32Array:
    return _half(b) * (0.5 + _nibbles(packed)).astype(np.float32) * np.float32(0.25)


def _iq2_xs(b: Bytes) -> Float32Array:
    words = _words(b[:, 2:66], "<u2")
    values = _points("iq2_xs", words & 511) * _seven_signs(words >> 9)
    return _scaled(_iq2_scales(b, b[:, 66:]), values)


def _iq2_s(b: Bytes) -> Float32Array:
    numbers = b[:, 2:34] | _bits(b[:, 66:74], 2, 4) << 8
    values = _points("iq2_s", numbers) * _signs(b[:, 34:66])
    return _scaled(_iq2_scales(b, b[:, 74:]), values)


def _iq3_xxs(b: Bytes) -> Float32Array:
    words = _words(b[:, 66:], "<u4")
    signs = (words[:, :, None] >> (7 * np.arange(4))) & 127
    values = _points("iq3_xxs", b[:, 2:66]) * _seven_signs(signs.reshape(-1, 32))
    scales = _half(b) * (0.5 + (words >> 28)).astype(np.float32) * np.float32(0.5)
    return _scaled(scales, values)


def _iq3_s(b: Bytes) -> Float32Array:
    numbers = b[:, 2:66] | _bits(b[:, 66:74], 1, 8) << 8
    values = _points("iq3_s", numbers) * _signs(b[:, 74:106])
    return _scaled(_half(b) * (1 + 2 * _nibbles(b[:, 106:])).astype(np.float32), values)


def _iq1_values(numbers: Ints, down: Ints) -> Float32Array:
    """(count, 256); `down`: (count, 32) of 0 and 1."""
    deltas = np.repeat(np.where(down == 1, np.float32(-0.125), np.float32(0.125)), 8, axis=1)
    return _points("iq1_s", numbers).astype(np.float32) + deltas


def _iq1_s(b: Bytes) -> Float32Array:
    words = _words(b[:, 34:], "<u2")  # (count, 8)
    high = (words[:, :, None] >> (3 * np.arange(4))) & 7
    numbers = b[:, 2:34] | (high.reshape(-1, 32) << 8).astype(np.int32)
    values = _iq1_values(numbers, np.repeat(words >> 15, 4, axis=1).astype(np.int32))
    scales = _half(b) * (2 * ((words >> 12) & 7) + 1).astype(np.float32)
    return (scales[:, :, None] * values.reshape(-1, 8, 32)).reshape(len(b), 256)


def _iq1_m(b: Bytes) -> Float32Array:
    words = _words(b[:, 48:], "<u2")  # (count, 4)
    bits = ((words >> 12) << (4 * np.arange(4))).sum(axis=1).astype("<u2")
    scale = bits.view("<f2").astype(np.float32)[:, None]
    steps = ((words[:, :, None] >> (3 * np.arange(4))) & 7).reshape(-1, 16)
    high = _nibbles(b[:, 32:48])
    values = _iq1_values(b[:, :32] | (high & 7) << 8, high >> 3)
    scales = scale * (2 * steps + 1).astype(np.float32)
    return (scales[:, :, None] * values.reshape(-1, 16, 16)).reshape(len(b), 256)


IQ_DECODERS: Mapping[str, Callable[[Bytes], Float32Array]] = {
    "iq2_xxs": _iq2_xxs,
    "iq2_xs": _iq2_xs,
    "iq2_s": _iq2_s,
    "iq3_xxs": _iq3_xxs,
    "iq3_s": _iq3_s,
    "iq1_s": _iq1_s,
    "iq1_m": _iq1_m,
}
