"""Weights as quantization schemes store them, made by NumPy, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.checkpoints.files import Tensor
from tests.golden.rows import to_bfloat16

Float32Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stored:
    """The tensors of one weight and the (N, K) values that they stand for."""

    parts: tuple[Tensor, ...]
    values: Float32Array


Store = Callable[[str, Float32Array], Stored]  # (stem of the name, weight) to what is stored


def _tensor(name: str, values: npt.NDArray[np.generic], dtype: str) -> Tensor:
    return Tensor(name, values.shape, dtype, np.ascontiguousarray(values).tobytes())


def _affine(
    weight: Float32Array, group: int
) -> tuple[Ints, Ints, npt.NDArray[np.float16], Float32Array]:
    """codes (N, K), zeros and scales (N, K / group), values (N, K): zeros are from 1 to 15."""
    rows = len(weight)
    grouped = weight.reshape(rows, -1, group)
    low, high = np.minimum(grouped.min(axis=2), 0), np.maximum(grouped.max(axis=2), 1e-3)
    scales = ((high - low) / 14).astype(np.float16)
    wide = scales.astype(np.float32)
    zeros = np.clip(np.rint(-low / wide), 1, 15).astype(np.int64)
    codes = np.clip(np.rint(grouped / wide[:, :, None]) + zeros[:, :, None], 0, 15)
    values = (codes - zeros[:, :, None]).astype(np.float32) * wide[:, :, None]
    return codes.astype(np.int64).reshape(weight.shape), zeros, scales, values.reshape(weight.shape)


def _words(nibbles: Ints, order: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """(R, 8 C) to (R, C): nibble i of a word is column order[i] of its eight."""
    words = np.zeros((len(nibbles), nibbles.shape[1] // 8), np.uint32)
    for nibble, column in enumerate(order):
        words |= nibbles[:, column::8].astype(np.uint32) << np.uint32(4 * nibble)
    return words.view(np.int32)


_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
_IN_ORDER = (0, 1, 2, 3, 4, 5, 6, 7)


def awq(group: int) -> Store:
    def store(stem: str, weight: Float32Array) -> Stored:
        codes, zeros, scales, values = _affine(weight, group)
        return Stored(
            (
                _tensor(f"{stem}.qweight", _words(codes.T, _AWQ_ORDER), "I32"),
                _tensor(f"{stem}.qzeros", _words(zeros.T, _AWQ_ORDER), "I32"),
                _tensor(f"{stem}.scales", scales.T, "F16"),
            ),
            values,
        )

    return store


def gptq(group: int, *, zero_offset: int = 1) -> Store:
    """`group` 0: one group of all columns."""

    def store(stem: str, weight: Float32Array) -> Stored:
        size = group or weight.shape[1]
        codes, zeros, scales, values = _affine(weight, size)
        order = np.arange(weight.shape[1], dtype=np.int32) // size
        return Stored(
            (
                _tensor(f"{stem}.qweight", _words(codes, _IN_ORDER).T, "I32"),
                _tensor(f"{stem}.qzeros", _words(zeros.T - zero_offset, _IN_ORDER), "I32"),
                _tensor(f"{stem}.scales", scales.T, "F16"),
                _tensor(f"{stem}.g_idx", order, "I32"),
            ),
            values,
        )

    return store


def _e4m3_values() -> Float32Array:
    """What the codes 0 to 126 stand for (OCP 8-bit floating point): bias 7, three mantissa bits."""
    codes = np.arange(127)
    exponent, mantissa = codes >> 3, codes & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return np.where(exponent == 0, mantissa / 8 * 2.0**-6, normal).astype(np.float32)


_E4M3 = _e4m3_values()


def _nearest(table: Float32Array, magnitudes: Float32Array) -> npt.NDArray[np.uint8]:
    """The place in the ascending `table` of the value nearest to each."""
    borders = (table[1:] + table[:-1]) / 2
    return np.searchsorted(borders, magnitudes).astype(np.uint8)


def _e4m3(values: Float32Array) -> npt.NDArray[np.uint8]:
    return _nearest(_E4M3, np.abs(values)) | (values < 0).astype(np.uint8) << 7


def _e4m3_decoded(codes: npt.NDArray[np.uint8]) -> Float32Array:
    return np.where(codes & 128, np.float32(-1), np.float32(1)) * _E4M3[codes & 127]


def fp8(kind: str, dtype: str = "F32") -> Store:
    """`kind`: "blocks" of 128 by 128, "rows" or "tensor"; `dtype` of the scales."""

    def store(stem: str, weight: Float32Array) -> Stored:
        rows, columns = weight.shape
        tall, wide = {"blocks": (128, 128), "rows": (1, columns), "tensor": (rows, columns)}[kind]
        peaks = np.zeros((-(-rows // tall), -(-columns // wide)), np.float32)
        for y, x in np.ndindex(peaks.shape):
            peaks[y, x] = np.abs(weight[y * tall : (y + 1) * tall, x * wide : (x + 1) * wide]).max()
        stored, scales = _encoded(peaks / 448, dtype)
        spread = np.repeat(np.repeat(scales, tall, axis=0)[:rows], wide, axis=1)[:, :columns]
        codes = _e4m3(weight / spread)
        shape = {"blocks": peaks.shape, "rows": (rows, 1), "tensor": (1,)}[kind]
        suffix = "weight_scale_inv" if kind == "blocks" else "weight_scale"
        return Stored(
            (
                _tensor(f"{stem}.weight", codes, "F8_E4M3"),
                _tensor(f"{stem}.{suffix}", stored.reshape(shape), dtype),
            ),
            _e4m3_decoded(codes) * spread,
        )

    return store


def _encoded(scales: Float32Array, dtype: str) -> tuple[npt.NDArray[np.generic], Float32Array]:
    """As stored in `dtype`, and the values after that. E8M0 rounds up."""
    if dtype == "BF16":
        bits = to_bfloat16(scales)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "F8_E8M0":
        exponents = np.ceil(np.log2(scales)).astype(np.int32)
        return (exponents + 127).astype(np.uint8), np.ldexp(np.float32(1), exponents)
    return scales, scales


_E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)


def nvfp4(kind: str) -> Store:
    """`kind`: "compressed-tensors" or "modelopt"."""

    def store(stem: str, weight: Float32Array) -> Stored:
        rows, columns = weight.shape
        factor = np.float32(2.0 ** np.floor(np.log2(np.abs(weight).max() / (6 * 448)) + 1))
        groups = weight.reshape(rows, -1, 16)
        scale_codes = _e4m3(np.abs(groups).max(axis=2) / 6 / factor)
        scales = _e4m3_decoded(scale_codes) * factor
        ratios = groups / np.maximum(scales, np.float32(1e-30))[:, :, None]
        codes = _nearest(_E2M1, np.abs(ratios)) | (ratios < 0).astype(np.uint8) << 3
        signs = np.where(ratios < 0, np.float32(-1), np.float32(1))
        values = signs * _E2M1[codes & 7] * scales[:, :, None]
        flat = codes.reshape(rows, columns)
        packed = flat[:, 0::2] | flat[:, 1::2] << 4
        theirs = kind == "compressed-tensors"
        codes_name, factor_name, stored = (
            ("weight_packed", "weight_global_scale", 1 / factor)
            if theirs
            else ("weight", "weight_scale_2", factor)
        )
        return Stored(
            (
                _tensor(f"{stem}.{codes_name}", packed, "U8"),
                _tensor(f"{stem}.weight_scale", scale_codes, "F8_E4M3"),
                _tensor(f"{stem}.{factor_name}", np.array([stored], np.float32), "F32"),
            ),
            values.reshape(weight.shape),
        )

    return store


@dataclass(frozen=True, slots=True)
class Case:
    """A scheme as config.json names it and how its weights are stored."""

    settings: Mapping[str, object]
    store: Store
    format: str  # what the weight is packed as


def _compressed(kind: str) -> dict[str, object]:
    return {"quant_method": "compressed-tensors", "format": kind}


CASES: Mapping[str, Case] = {
    "awq": Case({"quant_method": "awq", "bits": 4, "group_size": 32}, awq(32), "int4z32"),
    "gptq": Case({"quant_method": "gptq", "bits": 4, "group_size": 32}, gptq(32), "int4z32"),
    "gptq_v2": Case(
        {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"},
        gptq(32, zero_offset=0),
        "int4z32",
    ),
    "gptq_rows": Case({"quant_method": "gptq", "bits": 4, "group_size": -1}, gptq(0), "int4z128"),
    "fp8_blocks": Case(
        {"quant_method": "fp8", "weight_block_size": [128, 128]}, fp8("blocks"), "fp8"
    ),
    "fp8_bf16": Case({"quant_method": "fp8"}, fp8("blocks", "BF16"), "fp8"),
    "fp8_e8m0": Case({"quant_method": "fp8"}, fp8("blocks", "F8_E8M0"), "fp8"),
    "fp8_rows": Case({"quant_method": "fbgemm_fp8"}, fp8("rows"), "fp8"),
    "fp8_tensor": Case(_compressed("float-quantized"), fp8("tensor"), "fp8"),
    "nvfp4": Case(_compressed("nvfp4-pack-quantized"), nvfp4("compressed-tensors"), "nvfp4"),
    "nvfp4_modelopt": Case(
        {"quant_method": "modelopt", "quant_algo": "NVFP4"}, nvfp4("modelopt"), "nvfp4"
    ),
}
