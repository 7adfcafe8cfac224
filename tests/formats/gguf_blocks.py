"""GGUF's block formats in NumPy, written from their layout in ggml: random blocks and their values.

https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
(block_q4_0 to block_q6_K, block_iq4_nl, block_iq4_xs, block_mxfp4). The IQ1 to IQ3 formats are in
iq_blocks.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tests.formats.iq_blocks import IQ_DECODERS

Bytes = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

# Where the binary16 fields lie: (byte offset of the scale, of the min or None, bytes of a block).
_FIELDS: Mapping[str, tuple[int, int | None, int]] = {
    "q8_0": (0, None, 34),
    "q4_0": (0, None, 18),
    "q4_1": (0, 2, 20),
    "q5_0": (0, None, 22),
    "q5_1": (0, 2, 24),
    "q2_k": (80, 82, 84),
    "q3_k": (108, None, 110),
    "q4_k": (0, 2, 144),
    "q5_k": (0, 2, 176),
    "q6_k": (208, None, 210),
    "iq4_nl": (0, None, 18),
    "iq4_xs": (0, None, 136),
    "mxfp4": (0, None, 17),  # one byte, an exponent
    "iq2_xxs": (0, None, 66),
    "iq2_xs": (0, None, 74),
    "iq2_s": (0, None, 82),
    "iq3_xxs": (0, None, 98),
    "iq3_s": (0, None, 110),
    "iq1_s": (0, None, 50),
    "iq1_m": (48, None, 56),  # in the top nibbles of four 16-bit words
}
BLOCK_FORMATS = tuple(_FIELDS)

# Root mean square of value / scale for uniform random bytes.
_SPREAD = {
    "q8_0": 74.0,
    "q4_0": 4.6,
    "q4_1": 4.6,
    "q5_0": 9.2,
    "q5_1": 9.2,
    "q2_k": 1.9 * 8.8,
    "q3_k": 2.3 * 18.5,
    "q4_k": 8.7 * 36,
    "q5_k": 17.9 * 36,
    "q6_k": 18.5 * 74,
    "iq4_nl": 69.0,
    "iq4_xs": 69.0 * 18.5,
    "mxfp4": 2.9,
    "iq2_xxs": 3.4 * 18.5,
    "iq2_xs": 3.4 * 18.5,
    "iq2_s": 3.4 * 18.5,
    "iq3_xxs": 9.0 * 18.5,
    "iq3_s": 9.0 * 18.5,
    "iq1_s": 0.8 * 9.2,
    "iq1_m": 0.8 * 9.2,
}


def random_blocks(
    dtype: str, count: int, seed: int, *, magnitude: float = 1.0, signed: bool = True
) -> Bytes:
    """(count, bytes of a block): uniform codes, scales for values of about `magnitude`.

    `signed`: scales of either sign, and a few that are zero or subnormal.
    """
    random = np.random.default_rng(seed)
    at_scale, at_min, size = _FIELDS[dtype]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    scales = magnitude / _SPREAD[dtype] * random.uniform(0.5, 1.5, count)
    if signed:
        scales *= random.choice([-1.0, 1.0], count)
        scales[::17] = 0.0
        scales[5::17] = 2.0**-24  # the smallest of binary16
    if dtype == "mxfp4":
        exponents = np.floor(np.log2(np.maximum(np.abs(scales), 2.0**-130))) + 127
        blocks[:, 0] = np.clip(exponents, 0, 254).astype(np.uint8)
        return blocks
    if dtype == "iq1_m":
        halves = scales.astype("<f2").view("<u2").astype(np.int32)
        for nibble in range(4):
            top = at_scale + 2 * nibble + 1
            blocks[:, top] = (blocks[:, top] & 15) | ((halves >> (4 * nibble)) & 15) << 4
        return blocks
    _put_half(blocks, at_scale, scales)
    if at_min is not None:
        # Values become symmetric around zero. K formats subtract their min.
        middle = {"q4_1": -7.5, "q5_1": -15.5, "q2_k": 1.5, "q4_k": 7.5, "q5_k": 15.5}[dtype]
        _put_half(blocks, at_min, middle * scales)
    return blocks


def decode(dtype: str, blocks: Bytes) -> Float32Array:
    """(count, values of a block) in float32, rounding as ggml's scalar code does."""
    return _DECODERS[dtype](blocks)


def _put_half(blocks: Bytes, at: int, values: npt.NDArray[np.float64]) -> None:
    blocks[:, at : at + 2] = values.astype("<f2").view(np.uint8).reshape(-1, 2)


def _half(blocks: Bytes, at: int) -> Float32Array:
    """(count, 1)"""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> npt.NDArray[np.int32]:
    """(count, n) to (count, 2n): all low nibbles, then all high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.int32)


def _fifth_bits(packed: Bytes) -> npt.NDArray[np.int32]:
    """(count, 4) to (count, 32) of 0 or 16, bit 0 of byte 0 first."""
    return np.unpackbits(packed, axis=1, bitorder="little").astype(np.int32) * 16


def _float(codes: npt.NDArray[np.generic]) -> Float32Array:
    return codes.astype(np.float32)


def _q8_0(b: Bytes) -> Float32Array:
    return _float(b[:, 2:].view(np.int8)) * _half(b, 0)


def _q4_0(b: Bytes) -> Float32Array:
    return _float(_nibbles(b[:, 2:]) - 8) * _half(b, 0)


def _q4_1(b: Bytes) -> Float32Array:
    return _float(_nibbles(b[:, 4:])) * _half(b, 0) + _half(b, 2)


def _q5_0(b: Bytes) -> Float32Array:
    return _float(_nibbles(b[:, 6:]) + _fifth_bits(b[:, 2:6]) - 16) * _half(b, 0)


def _q5_1(b: Bytes) -> Float32Array:
    return _float(_nibbles(b[:, 8:]) + _fifth_bits(b[:, 4:8])) * _half(b, 0) + _half(b, 2)


def _k_scales(packed: Bytes) -> tuple[Float32Array, Float32Array]:
    """12 bytes of 6-bit scales and mins: (count, 8) each, as get_scale_min_k4 reads them."""
    scales, mins = [], []
    for j in range(8):
        if j < 4:
            scales.append(packed[:, j] & 63)
            mins.append(packed[:, j + 4] & 63)
        else:
            scales.append((packed[:, j + 4] & 15) | ((packed[:, j - 4] >> 6) << 4))
            mins.append((packed[:, j + 4] >> 4) | ((packed[:, j] >> 6) << 4))
    return _float(np.stack(scales, axis=1)), _float(np.stack(mins, axis=1))


def _k_values(b: Bytes, codes: npt.NDArray[np.int32]) -> Float32Array:
    """`codes`: (count, 8, 32)"""
    scales, mins = _k_scales(b[:, 4:16])
    scaled = (_half(b, 0) * scales)[:, :, None] * _float(codes)
    return (scaled - (_half(b, 2) * mins)[:, :, None]).reshape(len(b), 256)


def _paired_nibbles(packed: Bytes) -> npt.NDArray[np.int32]:
    """128 bytes to (count, 8, 32): every 32 bytes hold one group's low and the next's high."""
    runs = packed.reshape(-1, 4, 32).astype(np.int32)
    return np.stack([runs & 15, runs >> 4], axis=2).reshape(-1, 8, 32)


def _q4_k(b: Bytes) -> Float32Array:
    return _k_values(b, _paired_nibbles(b[:, 16:]))


def _q5_k(b: Bytes) -> Float32Array:
    planes = b[:, 16:48].astype(np.int32)
    high = np.stack([(planes >> group) & 1 for group in range(8)], axis=1)
    return _k_values(b, _paired_nibbles(b[:, 48:]) + 16 * high)


def _q6_k(b: Bytes) -> Float32Array:
    low = b[:, :128].reshape(-1, 2, 64).astype(np.int32)
    high = b[:, 128:192].reshape(-1, 2, 32).astype(np.int32)
    scales = _float(b[:, 192:208].view(np.int8)) * _half(b, 208)
    quarters = []
    for quarter in range(4):
        first = 32 * (quarter % 2)
        nibbles = (low[:, :, first : first + 32] >> (4 * (quarter // 2))) & 15
        quarters.append(nibbles | (((high >> (2 * quarter)) & 3) << 4))
    codes = np.stack(quarters, axis=2).reshape(-1, 16, 16) - 32
    return (scales[:, :, None] * _float(codes)).reshape(len(b), 256)


def _two_bits(packed: Bytes) -> npt.NDArray[np.int32]:
    """64 bytes to (count, 16, 16): each half's 32 bytes hold four runs of 32 columns."""
    halves = packed.reshape(-1, 2, 1, 32).astype(np.int32)
    runs = (halves >> (2 * np.arange(4))[:, None]) & 3
    return runs.reshape(-1, 16, 16)


def _q2_k(b: Bytes) -> Float32Array:
    scales = _half(b, 80) * _float(b[:, :16] & 15)
    mins = _half(b, 82) * _float(b[:, :16] >> 4)
    values = scales[:, :, None] * _float(_two_bits(b[:, 16:80])) - mins[:, :, None]
    return values.reshape(len(b), 256)


def _q3_k(b: Bytes) -> Float32Array:
    high = (b[:, None, :32].astype(np.int32) >> np.arange(8)[:, None]) & 1
    codes = _two_bits(b[:, 32:96]) + 4 * high.reshape(-1, 16, 16) - 4
    packed = b[:, 96:108].astype(np.int32)
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    top = np.concatenate([(packed[:, 8:] >> (2 * pair)) & 3 for pair in range(4)], axis=1)
    scales = _half(b, 108) * _float((low | top << 4) - 32)
    return (scales[:, :, None] * _float(codes)).reshape(len(b), 256)


_IQ4 = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def _iq4_nl(b: Bytes) -> Float32Array:
    return _IQ4[_nibbles(b[:, 2:])] * _half(b, 0)


def _iq4_xs(b: Bytes) -> Float32Array:
    high = np.ascontiguousarray(b[:, 2:4]).view("<u2").astype(np.int32)
    low = np.stack([b[:, 4:8] & 15, b[:, 4:8] >> 4], axis=2).reshape(-1, 8).astype(np.int32)
    scales = _half(b, 0) * _float((low | ((high >> (2 * np.arange(8))) & 3) << 4) - 32)
    codes = _nibbles(b[:, 8:].reshape(-1, 16)).reshape(-1, 8, 32)
    return (scales[:, :, None] * _IQ4[codes]).reshape(len(b), 256)


def _mxfp4(b: Bytes) -> Float32Array:
    """The smallest exponent counts as zero here."""
    scales = np.ldexp(np.float32(1), b[:, :1].astype(np.int32) - 127) * (b[:, :1] != 0)
    return np.concatenate([_E2M1, -_E2M1])[_nibbles(b[:, 1:])] * scales


_DECODERS: Mapping[str, Callable[[Bytes], Float32Array]] = {
    "q8_0": _q8_0,
    "q4_0": _q4_0,
    "q4_1": _q4_1,
    "q5_0": _q5_0,
    "q5_1": _q5_1,
    "q2_k": _q2_k,
    "q3_k": _q3_k,
    "q4_k": _q4_k,
    "q5_k": _q5_k,
    "q6_k": _q6_k,
    "iq4_nl": _iq4_nl,
    "iq4_xs": _iq4_xs,
    "mxfp4": _mxfp4,
    **IQ_DECODERS,
}
