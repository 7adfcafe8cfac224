"""Keeps packed weights on disk, so that the next start of the same model reads them."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from ftllm import _core
from ftllm.engine.checkpoints.checkpoint import Checkpoint
from ftllm.engine.checkpoints.identity import Identity
from ftllm.engine.content_index import ContentIndex
from ftllm.engine.pack_file import Key, PackFile, PackFileError, packed_size, write_pack_file
from ftllm.errors import OptionError

PACK_CACHE_MODES = ("auto", "on", "off")

_SUFFIX = ".pack"
_INDEX_SUFFIX = ".json"
_PARTIAL = ".partial"
_WORTH_SECONDS = 3.0  # "auto" keeps what took longer to pack
_LIMIT_BYTES = 64 << 30  # of all files together; the least recently used go first
_SPARE_BYTES = 1 << 30  # of the disk, left to others
_ABANDONED_SECONDS = 60.0  # a partial file that nobody has locked for so long has no writer


def check_pack_cache_mode(mode: str) -> None:
    """Raise `OptionError` listing what is supported."""
    if mode not in PACK_CACHE_MODES:
        raise OptionError(f"pack_cache is {mode!r}; supported are {', '.join(PACK_CACHE_MODES)}")


class PackCache:
    """The packed weights of one checkpoint in one number format: finds them in `folder`, and puts
    them there.

    Whatever is wrong with the folder or a file in it costs time and nothing else: weights are then
    packed as if there were no cache, and `notes` says why.

    `mode`: "auto" keeps what took long to pack, "on" everything, "off" neither keeps nor finds.
    `config`: what the model is built by.
    """

    def __init__(
        self,
        *,
        mode: str,
        folder: Path | None,
        checkpoint: Checkpoint,
        config: Mapping[str, object],
        weight_format: str | None,
        pool: _core.ThreadPool,
    ) -> None:
        self.notes: list[str] = []
        self._mode = "off" if folder is None else mode
        self._folder = folder or Path()
        self._checkpoint = checkpoint
        self._pool = pool
        self._misses = 0
        self._replaces = False  # a file that was there, and of no use
        self._file: PackFile | None = None
        if self._mode == "off":
            return
        target = weight_format or "auto"
        self._identity = checkpoint.identity()
        self._key: Key = {
            "config": _digest(json.dumps(dict(config), sort_keys=True, default=str).encode()),
            "format": target,
            "layout": _core.packed_layout(),
            "code": _code_digest(),
        }
        if self._identity is not None:
            self._path = self._folder / _file_name(self._identity, self._key)
            self._index = ContentIndex(self._path.with_suffix(_INDEX_SUFFIX))
            self._open()

    def find(
        self, name: str, *, experts: int, rows: int, columns: int, arena: _core.Arena
    ) -> _core.Weight | None:
        """A weight that was kept, in `arena`; None: pack it."""
        if self._file is not None:
            try:
                return self._file.weight(
                    name,
                    experts=experts,
                    rows=rows,
                    columns=columns,
                    arena=arena,
                    pool=self._pool,
                )
            except PackFileError as error:
                self._drop(error)
        self._misses += 1
        return None

    def store(self, weights: Mapping[str, _core.Weight], *, seconds: float) -> None:
        """Keep `weights`, all that were asked for; packing those not found took `seconds`."""
        if self._mode == "off":
            return
        if self._misses == 0:
            self.notes.append(f"packed   read from {self._path}")
            return
        if self._mode == "auto" and seconds < _WORTH_SECONDS and not self._replaces:
            return
        try:
            self._write(weights)
        except PackFileError as error:
            self.notes.append(f"packed   not kept: {error}; the next start tries again")
        except OSError as error:
            self.notes.append(
                f"warning  packed weights could not be kept in {self._folder}:"
                f" {error.strerror or error}; make room, or give --pack_cache off"
            )

    def _open(self) -> None:
        try:
            file = PackFile(self._path, self._key)
            if file.content != self._content():
                raise PackFileError("it was made of other weights")
            self._file = file
            os.utime(self._path)  # the time of the last use
        except FileNotFoundError:
            pass
        except OSError:
            self._replaces = (
                self._file is None
            )  # cannot be read; a folder that is read-only is fine
        except PackFileError as error:
            self._drop(error)

    def _content(self) -> str:
        """The digest of the checkpoint as it was opened."""
        if self._identity is None:
            raise PackFileError("the model's files changed a moment ago")
        known = self._index.find(self._identity.stamp)
        if known is not None:
            return known
        content = self._checkpoint.content()
        self._require_unchanged()
        with contextlib.suppress(OSError):
            self._index.add(self._identity.stamp, content)
        return content

    def _require_unchanged(self) -> None:
        if self._checkpoint.identity() != self._identity:
            raise PackFileError("the model's files have changed since they were opened")

    def _drop(self, error: PackFileError) -> None:
        self._file = None
        self._replaces = True
        self.notes.append(f"packed   {self._path} is of no use: {error}; weights are packed again")

    def _write(self, weights: Mapping[str, _core.Weight]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(self._folder)
        needed = packed_size(weights)
        free = shutil.disk_usage(self._folder).free
        if free < needed + _SPARE_BYTES:
            raise OSError(f"{needed >> 20} MiB would leave too little of {free >> 20} MiB free")
        content = self._content()
        partial = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}{_PARTIAL}")
        try:
            with partial.open("xb", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                write_pack_file(file, self._key, content, weights, self._pool)
                self._require_unchanged()
                partial.replace(self._path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)
        _evict(self._folder, keep=self._path)
        self.notes.append(f"packed   kept for the next start in {self._path}")


def _code_digest() -> str:
    """Of the code that packs: any other build or version packs anew, and nobody has to remember to
    count a version up."""
    digest = hashlib.sha256(Path(_core.__file__).read_bytes())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _file_name(identity: Identity, key: Key) -> str:
    """One file for each model in each format and layout, wherever the model lies: a version's file
    takes the place of the last one's."""
    place = _digest(f"{identity.outline}\n{key['format']}\n{key['layout']}".encode())
    return f"{key['format']}-{place[:24]}{_SUFFIX}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """The file's new name reaches the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Partial files of writers that were killed."""
    for path in folder.glob(f"*{_PARTIAL}"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
        except OSError:  # somebody writes it, or has removed it
            continue


def _evict(folder: Path, *, keep: Path) -> None:
    """Remove the least recently used files but `keep` while all take more than the limit. Who reads
    one goes on reading it."""
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):  # another process has just removed it
            files.append((path.stat(), path))
    total = sum(status.st_size for status, _ in files)
    for status, path in sorted(files, key=lambda each: each[0].st_mtime_ns):
        if total <= _LIMIT_BYTES:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            path.with_suffix(_INDEX_SUFFIX).unlink(missing_ok=True)
            total -= status.st_size
