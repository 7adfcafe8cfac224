"""Remembers the content digests of files that have not changed since they were computed."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

_LIMIT = 16  # the oldest go first: copies of one model


class ContentIndex:
    """A small JSON file: stamp of a checkpoint -> digest of its content.

    Whatever is wrong with the file, nothing is known then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, stamp: str) -> str | None:
        return self._read().get(stamp)

    def add(self, stamp: str, content: str) -> None:
        """Raises `OSError` when the file cannot be written."""
        entries = {**self._read(), stamp: content}
        for oldest in list(entries)[:-_LIMIT]:
            del entries[oldest]
        partial = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}.partial")
        try:
            with partial.open("x") as file:
                json.dump(entries, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _read(self) -> dict[str, str]:
        try:
            entries = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {key: value for key, value in entries.items() if isinstance(value, str)}
