"""A file mapped read-only into memory."""

from __future__ import annotations

import mmap
from pathlib import Path

from ftllm.errors import CheckpointError


class MappedFile:
    """Read-only memory map of a whole file. Raises `CheckpointError` when it cannot be mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.size = file.seek(0, 2)
                if self.size == 0:
                    raise CheckpointError(f"{path}: the file is empty; download it again")
                self._map = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # the file shrank between seek and mmap
            raise CheckpointError(f"{path}: cannot be mapped: {error}") from error
        self._view = memoryview(self._map)

    @property
    def buffer(self) -> memoryview:
        """All bytes of the file."""
        return self._view

    def read(self, start: int, end: int) -> bytes:
        """A copy of bytes [start, end); the caller has checked both against `size`."""
        return self._map[start:end]

    def release(self, start: int, end: int) -> None:
        """Give back the memory of the whole pages inside [start, end)."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, first, length)

    def close(self) -> None:
        """Unmap. When views of it are still held, the map goes with the last of them."""
        try:
            self._view.release()
            self._map.close()
        except BufferError:
            return
