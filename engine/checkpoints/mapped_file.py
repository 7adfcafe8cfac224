"""A file mapped read-only into memory."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ftllm.errors import CheckpointError

_DIGEST_BYTES = 32 << 20  # of one thread at a time
_DIGEST_THREADS = 8  # more than most disks keep busy
_SECOND = 10**9
_COARSE_TICK = 2 * _SECOND  # ns between timestamps on file systems that keep whole seconds
_FINE_TICK = _SECOND // 20  # and on others: a tick of the slowest kernel clock, five times


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What the system keeps of a file; writing to it or putting another in its place changes it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    def settled(self, now_ns: int) -> bool:
        """Whether a change after `now_ns` must show: the clock has moved on since the last one."""
        coarse = self.mtime_ns % _SECOND == 0 and self.ctime_ns % _SECOND == 0
        tick = _COARSE_TICK if coarse else _FINE_TICK
        return now_ns - max(self.mtime_ns, self.ctime_ns) >= tick


class MappedFile:
    """Read-only memory map of a whole file. Raises `CheckpointError` when it cannot be mapped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.stamp = FileStamp.of(os.fstat(file.fileno()))
                self.opened_ns = time.time_ns()
                self.size = file.seek(0, 2)
                if self.size == 0:
                    raise CheckpointError(f"{path}: the file is empty; download it again")
                self._map = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_READ)
        except OSError as error:
            if error.errno == errno.ENOMEM:
                raise CheckpointError(
                    f"{path}: its {self.size >> 20} MiB cannot be mapped, as the address space of"
                    " this process is limited; raise the limit (ulimit -v)"
                ) from error
            raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
        except ValueError as error:  # the file shrank between seek and mmap
            raise CheckpointError(f"{path}: cannot be mapped: {error}") from error
        self._view = memoryview(self._map)

    @property
    def buffer(self) -> memoryview:
        """All bytes of the file."""
        return self._view

    def unchanged(self) -> bool:
        """Whether `path` is still the file that was opened, with what it held then; False also
        when it was written so shortly before that this cannot be known."""
        try:
            now = FileStamp.of(self.path.stat())
        except OSError:
            return False
        return now == self.stamp and self.stamp.settled(self.opened_ns)

    def digest(self) -> bytes:
        """SHA-256 over the SHA-256 of each 32 MiB, which several threads compute."""
        parts = range(0, self.size, _DIGEST_BYTES)
        with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1, _DIGEST_THREADS)) as threads:
            return hashlib.sha256(b"".join(threads.map(self._digest_part, parts))).digest()

    def _digest_part(self, start: int) -> bytes:
        end = min(self.size, start + _DIGEST_BYTES)
        with self._view[start:end] as part:
            digest = hashlib.sha256(part).digest()
        self.release(start, end)
        return digest

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
