"""AWQ checkpoints (AutoAWQ's "gemm" layout): 4-bit codes with scales and zero points in groups.

https://github.com/casper-hansen/AutoAWQ, https://arxiv.org/abs/2306.00978

    qweight (K, N / 8) i32   eight columns of N in a word
    qzeros  (K / group, N / 8) i32   likewise
    scales  (K / group, N) f16
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftllm.engine.checkpoints.converted import Parts, Shape, required
from ftllm.engine.checkpoints.part_arrays import (
    Bytes,
    Int32Array,
    block_columns,
    int4z_blocks,
    integers,
    scales,
)
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError, UnsupportedModelError

_NIBBLE_OF = (0, 4, 1, 5, 2, 6, 3, 7)  # of a word, for each of its eight columns


class Awq:
    """The scheme of one config.json; see `Scheme`."""

    codes = "qweight"
    others = frozenset({"qzeros", "scales"})

    def __init__(self, settings: Mapping[str, object]) -> None:
        bits = settings.get("bits", settings.get("w_bit", 4))
        version = str(settings.get("version", "gemm")).lower()
        if bits != 4 or version != "gemm":
            raise UnsupportedModelError(
                f"an AWQ checkpoint of {bits} bits and version {version!r}; supported are 4 bits"
                " and version 'gemm'"
            )

    def is_quantized(self, codes: TensorData) -> bool:
        return True

    def layout(self, parts: Parts) -> tuple[Shape, str]:
        packed, scale = required(parts, "qweight"), required(parts, "scales")
        zeros = required(parts, "qzeros")
        columns, words = packed.shape if len(packed.shape) == 2 else (0, 0)
        groups = scale.shape[0] if scale.shape else 0
        if (
            columns < 1
            or groups < 1
            or columns % groups
            or scale.shape != (groups, 8 * words)
            or zeros.shape != (groups, words)
        ):
            raise CheckpointError(
                f"tensor {packed.name!r} of shape {packed.shape} does not go with scales of shape"
                f" {scale.shape} and qzeros of shape {zeros.shape}"
            )
        return (8 * words, columns), f"int4z{_block(columns, groups)}"

    def convert(self, parts: Parts) -> bytes:
        codes = _columns(integers(parts["qweight"])).T  # (N, K)
        scale = scales(parts["scales"])
        columns, groups = codes.shape[1], len(scale)
        return int4z_blocks(
            codes[:, 0::2] | codes[:, 1::2] << 4,
            scale.T,
            _columns(integers(parts["qzeros"])).T.astype(np.int32),
            columns=_block(columns, groups),
            group=columns // groups,
            name=parts["scales"].name,
        )


def _block(columns: int, groups: int) -> int:
    return 128 if groups == 1 else block_columns(columns // groups)


def _columns(words: Int32Array) -> Bytes:
    """(R, C) words to (R, 8 C) codes."""
    codes = np.empty((len(words), 8 * words.shape[1]), np.uint8)
    for column, nibble in enumerate(_NIBBLE_OF):
        codes[:, column::8] = (words >> (4 * nibble)) & 15
    return codes
