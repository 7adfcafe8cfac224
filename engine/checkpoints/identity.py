"""How a checkpoint's files are recognized."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.engine.checkpoints.tensor import TensorEntry

_SAMPLE_BYTES = 4096
_MAX_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class Identity:
    """Two digests found without reading the files whole.

    `outline`, of their sizes, their headers and a page of many tensors, stays the same when they
    are copied; it differs between any two trainings, but a patched tensor could escape it.

    `stamp`, of the outline and the system's records (times, inode), changes with any change of the
    files. The records alone could be equal in two images that are built to be reproducible.
    """

    outline: str
    stamp: str


def identity(entries: Sequence[tuple[MappedFile, TensorEntry]]) -> Identity | None:
    """Of the files that `entries` lie in; None when they changed since they were opened, or so
    shortly before that a later change could go unseen."""
    files = _files_of(entries)
    if not all(file.unchanged() for file in files):
        return None
    digest = hashlib.sha256()
    for file in files:
        first = min(entry.start for owner, entry in entries if owner is file)
        digest.update(f"{file.size}\n".encode())
        digest.update(file.buffer[:first])
    stride = max(1, -(-len(entries) // _MAX_SAMPLES))
    for file, entry in entries[::stride]:
        middle = max(entry.start, (entry.start + entry.end - _SAMPLE_BYTES) // 2)
        digest.update(file.buffer[middle : min(entry.end, middle + _SAMPLE_BYTES)])
    outline = digest.hexdigest()
    for file in files:
        digest.update(repr(astuple(file.stamp)).encode())
    return Identity(outline, digest.hexdigest())


def content(entries: Sequence[tuple[MappedFile, TensorEntry]]) -> str:
    """A digest of every byte of the files that `entries` lie in."""
    digests = [file.digest() for file in _files_of(entries)]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _files_of(entries: Sequence[tuple[MappedFile, TensorEntry]]) -> list[MappedFile]:
    """In the order in which `entries` name them first."""
    return list({id(file): file for file, _ in entries}.values())
