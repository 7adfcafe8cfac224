"""A file of packed weights: written whole or not at all.

Layout: magic (8 bytes), the header's length (u64, little-endian), the header's SHA-256 (32 bytes),
the header (JSON), then the weights' bytes, each at a multiple of 4096. Offsets in the header count
from the first such multiple behind it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from ftllm import _core
from ftllm.errors import CheckpointError

Key = Mapping[str, str]

_MAGIC = b"FTLLMPK\x01"
_PREFIX_BYTES = 48
_ALIGNMENT = 4096
_WRITE_BYTES = 16 << 20  # handed to the system at a time


class PackFileError(Exception):
    """The file is not what is wanted: of another key, damaged, or no pack file at all."""


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One weight of the file."""

    name: str
    format: str
    experts: int
    rows: int
    columns: int
    offset: int  # from the start of the weights' bytes
    bytes: int
    checksum: int


class PackFile:
    """An open file of packed weights. Raises `PackFileError`, or `OSError` as `open` does.

    `content`: the digest of the checkpoint that they were packed from.
    """

    def __init__(self, path: Path, key: Key) -> None:
        with path.open("rb") as file:
            self.content, self._entries, self._start, end = _read_header(file, key)
            size = os.fstat(file.fileno()).st_size
            if size != end:
                raise PackFileError(f"it has {size} bytes instead of {end}")
            self._file = _core.InputFile(file.fileno())

    def weight(
        self,
        name: str,
        *,
        experts: int,
        rows: int,
        columns: int,
        arena: _core.Arena,
        pool: _core.ThreadPool,
    ) -> _core.Weight:
        """The weight called `name`, in `arena`. Raises `PackFileError` when it is not
        there in this shape, or when its bytes are not those that were written."""
        entry = self._entries.get(name)
        if entry is None or (entry.experts, entry.rows, entry.columns) != (experts, rows, columns):
            raise PackFileError(f"{name} of {experts} x {rows} x {columns} is not in it")
        weight = _core.Weight(
            format=entry.format, rows=rows, columns=columns, experts=experts, arena=arena
        )
        if weight.nbytes != entry.bytes:
            raise PackFileError(f"{name} has {entry.bytes} bytes instead of {weight.nbytes}")
        try:
            found = weight.read(file=self._file, offset=self._start + entry.offset, pool=pool)
        except CheckpointError as error:
            raise PackFileError(str(error)) from error
        if found != entry.checksum:
            raise PackFileError(f"the bytes of {name} are damaged")
        return weight


def packed_size(weights: Mapping[str, _core.Weight]) -> int:
    """Bytes that a file of `weights` takes, but for its header."""
    return sum(_aligned(weight.nbytes) for weight in weights.values())


def write_pack_file(
    file: BinaryIO,
    key: Key,
    content: str,
    weights: Mapping[str, _core.Weight],
    pool: _core.ThreadPool,
) -> None:
    """Write to `file`, an empty unbuffered one, and wait until it is on the disk."""
    entries = []
    offset = 0
    for name, weight in weights.items():
        shape = (weight.experts, weight.rows, weight.columns)
        entries.append(
            PackEntry(
                name, weight.format, *shape, offset, weight.nbytes, weight.checksum(pool=pool)
            )
        )
        offset += _aligned(weight.nbytes)
    header = json.dumps(
        {
            "key": dict(key),
            "content": content,
            "bytes": offset,
            "weights": [asdict(entry) for entry in entries],
        }
    ).encode()
    prefix = _MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest()
    _write(file, memoryview(prefix + header))
    start = _aligned(_PREFIX_BYTES + len(header))
    for entry in entries:
        file.seek(start + entry.offset)
        _write(file, memoryview(weights[entry.name]))
    file.truncate(start + offset)
    os.fsync(file.fileno())


def _write(file: BinaryIO, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += file.write(data[done : done + _WRITE_BYTES])


def _read_header(file: BinaryIO, key: Key) -> tuple[str, dict[str, PackEntry], int, int]:
    """(content, entries by name, where the weights' bytes start, the file's size)."""
    prefix = file.read(_PREFIX_BYTES)
    if len(prefix) < _PREFIX_BYTES or not prefix.startswith(_MAGIC):
        raise PackFileError("it does not begin as such a file does")
    length = int.from_bytes(prefix[8:16], "little")
    size = os.fstat(file.fileno()).st_size
    header = file.read(length) if length <= size else b""
    if hashlib.sha256(header).digest() != prefix[16:]:
        raise PackFileError("its header is damaged")
    content = json.loads(header)
    if content["key"] != dict(key):
        raise PackFileError("it was made by another version or with another configuration")
    entries = {each["name"]: _entry(each) for each in content["weights"]}
    start = _aligned(_PREFIX_BYTES + length)
    return content["content"], entries, start, start + content["bytes"]


def _entry(values: Mapping[str, Any]) -> PackEntry:
    return PackEntry(*(values[field.name] for field in fields(PackEntry)))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
