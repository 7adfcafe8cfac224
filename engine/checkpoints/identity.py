"""A digest by which the content of a checkpoint's files is recognized without reading them all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple

from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.engine.checkpoints.tensor import TensorEntry

_SAMPLE_BYTES = 4096
_MAX_SAMPLES = 256


def identity(entries: Sequence[tuple[MappedFile, TensorEntry]]) -> str | None:
    """Of the files that `entries` lie in; None when they changed since they were opened, or so
    shortly before that a later change could go unseen.

    The system's records of a file (size, times, inode) tell any change on a disk. They can be
    equal for two files of images that are built to be reproducible; so the headers and a page of
    many tensors go in as well, which differ between any two trainings of one architecture.
    """
    files = {id(file): file for file, _ in entries}
    if not all(file.unchanged() for file in files.values()):
        return None
    digest = hashlib.sha256()
    for file in files.values():
        first = min(entry.start for owner, entry in entries if owner is file)
        digest.update(repr(astuple(file.stamp)).encode())
        digest.update(file.buffer[:first])
    stride = -(-len(entries) // _MAX_SAMPLES)
    for file, entry in entries[::stride]:
        middle = max(entry.start, (entry.start + entry.end - _SAMPLE_BYTES) // 2)
        digest.update(file.buffer[middle : min(entry.end, middle + _SAMPLE_BYTES)])
    return digest.hexdigest()
