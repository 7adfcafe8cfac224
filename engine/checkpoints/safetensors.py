"""safetensors checkpoints: a folder with model.safetensors, or with shards and their index.

Format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ftllm.engine.checkpoints.hf_config import read_config, read_generation_config
from ftllm.engine.checkpoints.json_object import parse_json_object, read_json_object
from ftllm.engine.checkpoints.mapped_checkpoint import MappedCheckpoint
from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.engine.checkpoints.tensor import (
    TensorEntry,
)
from ftllm.errors import CheckpointError

SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
_MAX_HEADER = 100_000_000  # bytes; the limit of the reference implementation
_MAX_DIMENSION = 1 << 48
# Bits per element of the formats whose length can be checked; the first three are supported.
_BITS = {"F32": 32, "F16": 16, "BF16": 16, "F64": 64, "I64": 64, "U64": 64, "I32": 32, "U32": 32}
_BITS |= {"I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8}
_BITS |= {"F8_E8M0": 8}


class SafetensorsCheckpoint(MappedCheckpoint):
    """An open Hugging Face folder; see `Checkpoint`. Raises `CheckpointError`."""

    format = "safetensors"
    metadata: Mapping[str, object] = MappingProxyType({})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.config = read_config(folder)
        self.generation_config = read_generation_config(folder)
        try:
            if (folder / SINGLE_NAME).exists():
                self._add(folder / SINGLE_NAME)
            else:
                self._open_shards(folder / INDEX_NAME)
        except BaseException:
            self.close()
            raise

    def _add(self, path: Path) -> None:
        file = MappedFile(path)
        self._files.append(file)
        for entry in read_entries(file):
            if entry.name in self._entries:
                raise CheckpointError(
                    f"tensor {entry.name!r} is in both {self._entries[entry.name][0].path} "
                    f"and {path}"
                )
            self._entries[entry.name] = (file, entry)

    def _open_shards(self, index: Path) -> None:
        weight_map = read_json_object(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index}: weight_map must be an object of tensor -> file name")
        for name, shard in weight_map.items():
            if not isinstance(shard, str) or Path(shard).name != shard or "\0" in shard:
                raise CheckpointError(f"{index}: tensor {name!r} is in {shard!r}, not a file name")
        shards = sorted(set(weight_map.values()))
        for shard in shards:
            if not (self._where / shard).is_file():
                raise CheckpointError(
                    f"{self._where / shard}: no such file; {index.name} names {len(shards)} shards"
                )
        for shard in shards:
            self._add(self._where / shard)
        for name, shard in weight_map.items():
            if name not in self._entries or self._entries[name][0].path.name != shard:
                raise CheckpointError(
                    f"{index}: tensor {name!r} should be in {shard}, but is not there"
                )


def read_entries(file: MappedFile) -> list[TensorEntry]:
    """The tensors of one file, checked to cover its data exactly. Raises `CheckpointError`."""
    where = str(file.path)
    if file.size < 8:
        raise CheckpointError(f"{where}: {file.size} bytes are too few for a safetensors header")
    length = int.from_bytes(file.read(0, 8), "little")
    if length > _MAX_HEADER:
        raise CheckpointError(
            f"{where}: the header's length is {length} bytes; the limit is {_MAX_HEADER}"
        )
    if length > file.size - 8:
        raise CheckpointError(
            f"{where}: the header's length is {length} bytes, but only {file.size - 8} follow; "
            f"the file was cut short or damaged, download it again"
        )
    header = parse_json_object(file.read(8, 8 + length), where=f"{where}: header")
    header.pop("__metadata__", None)
    entries = [_entry(name, info, 8 + length, where) for name, info in header.items()]
    position = 8 + length
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            fault = "overlaps the tensor before it" if entry.start < position else "leaves a hole"
            raise CheckpointError(
                f"{where}: tensor {entry.name!r} {fault}: it starts at byte {entry.start}, "
                f"byte {position} was expected"
            )
        position = entry.end
    if position != file.size:
        raise CheckpointError(
            f"{where}: the tensors end at byte {position}, but the file has {file.size} bytes; "
            f"it was cut short or damaged, download it again"
        )
    return entries


def _entry(name: str, info: object, data_start: int, where: str) -> TensorEntry:
    where = f"{where}: tensor {name!r}"
    if not isinstance(info, dict) or info.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where}: exactly dtype, shape and data_offsets are expected")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str):
        raise CheckpointError(f"{where}: the dtype is {dtype!r}; a string is expected")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise CheckpointError(f"{where}: the shape is {shape!r}; a list of sizes is expected")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise CheckpointError(f"{where}: data_offsets is {offsets!r}; [begin, end] is expected")
    begin, end = offsets
    if begin > end:
        raise CheckpointError(f"{where}: data_offsets begin at {begin}, after their end {end}")
    bits = _BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != (end - begin) * 8:
        raise CheckpointError(
            f"{where}: {dtype} of shape {shape} takes {math.prod(shape) * bits // 8} bytes, but "
            f"data_offsets give {end - begin}"
        )
    return TensorEntry(name, tuple(shape), dtype.lower(), data_start + begin, data_start + end)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_DIMENSION
