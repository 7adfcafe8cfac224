"""One tensor of a checkpoint: its name, shape, number format and raw bytes."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from ftllm.errors import CheckpointError, UnsupportedModelError

# dtype -> (elements per block, bytes per block). A row (the last axis) is a whole number of blocks.
# Layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
DTYPE_BLOCKS = MappingProxyType(
    {
        "f32": (1, 4),
        "f16": (1, 2),
        "bf16": (1, 2),
        "q8_0": (32, 34),
        "q4_0": (32, 18),
        "q4_1": (32, 20),
        "q5_0": (32, 22),
        "q5_1": (32, 24),
        "q2_k": (256, 84),
        "q3_k": (256, 110),
        "q4_k": (256, 144),
        "q5_k": (256, 176),
        "q6_k": (256, 210),
        "iq4_nl": (32, 18),
        "iq4_xs": (256, 136),
        "mxfp4": (32, 17),
        "iq2_xxs": (256, 66),
        "iq2_xs": (256, 74),
        "iq2_s": (256, 82),
        "iq3_xxs": (256, 98),
        "iq3_s": (256, 110),
        "iq1_s": (256, 50),
        "iq1_m": (256, 56),
    }
)


@dataclass(frozen=True, slots=True)
class TensorData:
    """The raw little-endian bytes of one tensor, a view of the mapped file (no copy).

    `shape` is row-major as in PyTorch, (rows N, columns K); `dtype` is a key of `DTYPE_BLOCKS`;
    `data` has exactly the bytes that shape and dtype ask for. The view must not be read after its
    checkpoint was closed.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where a tensor lies in its file: `start` and `end` are byte offsets from the file's start.

    For a dtype that is not in `DTYPE_BLOCKS` the length is not known and `end` may equal `start`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    end: int


def byte_count(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes of a tensor, or None when its last axis is not a whole number of `dtype`'s blocks."""
    elements, size = DTYPE_BLOCKS[dtype]
    columns = shape[-1] if shape else 1
    if columns % elements:
        return None
    return math.prod(shape) // elements * size


def require_supported(entry: TensorEntry) -> None:
    """Raise `UnsupportedModelError` unless the tensor's dtype is one of `DTYPE_BLOCKS`."""
    if entry.dtype not in DTYPE_BLOCKS:
        raise UnsupportedModelError(
            f"tensor {entry.name!r} has the number format {entry.dtype!r}, which is not supported; "
            f"supported: {', '.join(DTYPE_BLOCKS)}"
        )


def missing_tensor(name: str, names: Collection[str], where: str) -> CheckpointError:
    """The error for a tensor that is not in the checkpoint; names the nearest ones that are."""
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    hint = f"; near matches: {', '.join(near)}" if near else f"; it has {len(names)} tensors"
    return CheckpointError(f"{where}: no tensor {name!r}{hint}")
