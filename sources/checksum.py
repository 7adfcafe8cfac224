"""SHA-256 of a model that is one file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ftllm.errors import ModelSourceError
from ftllm.sources import gguf_names
from ftllm.sources.progress import Progress

_CHUNK = 1 << 20  # bytes


def verify_file(path: Path, sha256: str, *, progress: Progress) -> None:
    """Raise `ModelSourceError` unless the file has this SHA-256 (lower-case hex)."""
    if path.is_dir() or len(gguf_names.parts(path.name)) > 1:
        raise ModelSourceError(f"{path}: a sha256 can be given for one file only, not for several")
    digest = hashlib.sha256()
    try:
        with (
            path.open("rb") as file,
            progress.task(f"checking {path.name}", path.stat().st_size, "B") as task,
        ):
            while data := file.read(_CHUNK):
                digest.update(data)
                task.advance(len(data))
    except OSError as error:
        raise ModelSourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != sha256:
        raise ModelSourceError(
            f"{path}: its SHA-256 is {digest.hexdigest()}, but {sha256} was expected"
        )
