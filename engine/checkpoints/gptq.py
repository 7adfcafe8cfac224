"""GPTQ checkpoints of 4 bits: codes with scales and zero points in groups of columns.

https://github.com/AutoGPTQ/AutoGPTQ, https://arxiv.org/abs/2210.17323

    qweight (K / 8, N) i32   eight columns of K in a word, the first in the lowest bits
    qzeros  (K / group, N / 8) i32   eight rows of N in a word; in the first version one less
    scales  (K / group, N) f16
    g_idx   (K,) i32   the group of each column
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ftllm.engine.checkpoints.converted import Parts, Shape, required
from ftllm.engine.checkpoints.part_arrays import (
    Int32Array,
    block_columns,
    int4z_blocks,
    integers,
    scales,
)
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.errors import CheckpointError, UnsupportedModelError


class Gptq:
    """The scheme of one config.json; see `Scheme`."""

    codes = "qweight"
    others = frozenset({"qzeros", "scales", "g_idx"})

    def __init__(self, settings: Mapping[str, object]) -> None:
        bits = settings.get("bits", 4)
        if bits != 4:
            raise UnsupportedModelError(f"a GPTQ checkpoint of {bits} bits; supported are 4 bits")
        # Version 2 stores zero points as they are.
        self._zero_offset = 0 if settings.get("checkpoint_format") == "gptq_v2" else 1

    def is_quantized(self, codes: TensorData) -> bool:
        return True

    def layout(self, parts: Parts) -> tuple[Shape, str]:
        packed, scale = required(parts, "qweight"), required(parts, "scales")
        zeros = required(parts, "qzeros")
        words, rows = packed.shape if len(packed.shape) == 2 else (0, 0)
        groups = scale.shape[0] if scale.shape else 0
        if (
            words < 1
            or groups < 1
            or 8 * words % groups
            or scale.shape != (groups, rows)
            or zeros.shape != (groups, rows // 8)
        ):
            raise CheckpointError(
                f"tensor {packed.name!r} of shape {packed.shape} does not go with scales of shape"
                f" {scale.shape} and qzeros of shape {zeros.shape}"
            )
        return (rows, 8 * words), f"int4z{_block(8 * words, groups)}"

    def convert(self, parts: Parts) -> bytes:
        (rows, columns), _ = self.layout(parts)
        scale = scales(parts["scales"])
        group = columns // len(scale)
        if "g_idx" in parts:
            _check_order(integers(parts["g_idx"]), group, parts["g_idx"].name)
        words = np.ascontiguousarray(integers(parts["qweight"]))
        nibbles = words.view(np.uint8).reshape(columns // 8, rows, 4).swapaxes(0, 1)
        zero_words = integers(parts["qzeros"])
        zeros = (zero_words[:, :, None] >> (4 * np.arange(8))) & 15
        return int4z_blocks(
            nibbles.reshape(rows, columns // 2),
            scale.T,
            zeros.reshape(len(scale), rows).T + self._zero_offset,
            columns=_block(columns, len(scale)),
            group=group,
            name=parts["scales"].name,
        )


def _block(columns: int, groups: int) -> int:
    return 128 if groups == 1 else block_columns(columns // groups)


def _check_order(groups: Int32Array, group: int, name: str) -> None:
    """Columns must lie in order of their groups."""
    if not (groups == np.arange(len(groups)) // group).all():
        raise UnsupportedModelError(
            f"tensor {name!r} puts columns of one group apart (desc_act); take a checkpoint made"
            " with desc_act false or static_groups true"
        )
