"""Writes GGUF and safetensors files tensor by tensor, so that a large model needs little memory.

Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md,
https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from block_encoders import ENCODERS

_ALIGNMENT = 32  # bytes, GGUF's default
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_SAFETENSORS_NAMES = {"f32": "F32", "bf16": "BF16"}

Pieces = Iterable[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A tensor to write: `shape` row-major, (N, K) or (experts, N, K) or (K,)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        encoder = ENCODERS[self.dtype]
        values = 1
        for extent in self.shape:
            values *= extent
        return values // encoder.columns * encoder.size


Data = Callable[[TensorPlan], Pieces]  # the bytes of a tensor, in pieces


def write_gguf(
    path: Path, metadata: Mapping[str, object], tensors: Sequence[TensorPlan], data: Data
) -> None:
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
        for key, value in metadata.items():
            file.write(_text(key) + _value(value))
        offset = 0
        for tensor in tensors:
            shape = tensor.shape[::-1]  # innermost first
            file.write(_text(tensor.name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            file.write(struct.pack("<IQ", ENCODERS[tensor.dtype].gguf_type, offset))
            offset += tensor.size + -tensor.size % _ALIGNMENT
        file.write(bytes(-file.tell() % _ALIGNMENT))
        for tensor in tensors:
            _write_tensor(file, tensor, data)
            file.write(bytes(-file.tell() % _ALIGNMENT))


def write_safetensors(path: Path, tensors: Sequence[TensorPlan], data: Data) -> None:
    header: dict[str, object] = {}
    offset = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _SAFETENSORS_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.size],
        }
        offset += tensor.size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            _write_tensor(file, tensor, data)


def _write_tensor(file: BinaryIO, tensor: TensorPlan, data: Data) -> None:
    begin = file.tell()
    for piece in data(tensor):
        file.write(piece)
    written = file.tell() - begin
    assert written == tensor.size, f"{tensor} has {written} bytes"


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case str():
            return struct.pack("<I", _STRING) + _text(value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case [int(), *_]:
            head = struct.pack("<IIQ", _ARRAY, _INT32, len(value))
            return head + struct.pack(f"<{len(value)}i", *value)
        case list():
            head = struct.pack("<IIQ", _ARRAY, _STRING, len(value))
            return head + b"".join(_text(str(text)) for text in value)
    raise TypeError(f"a GGUF value cannot be {value!r}")
