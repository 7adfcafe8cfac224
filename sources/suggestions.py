"""Near matches for a MODEL that was not found."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_LIMIT = 5
_SIMILARITY = 0.6


def near_matches(model: str, *, names: Iterable[str], repositories: Iterable[str]) -> list[str]:
    """What `model` may have meant: short names, repositories on disk, paths beside it."""
    candidates = [*names, *repositories, *_neighbours(model)]
    by_key: dict[str, str] = {}
    for candidate in candidates:
        by_key.setdefault(candidate.lower(), candidate)
        by_key.setdefault(candidate.rsplit("/", 1)[-1].lower(), candidate)
    keys = [model.lower(), model.rstrip("/").rsplit("/", 1)[-1].lower()]
    found = [
        by_key[match]
        for key in keys
        for match in get_close_matches(key, by_key, n=_LIMIT, cutoff=_SIMILARITY)
    ]
    return list(dict.fromkeys(found))[:_LIMIT]


def _neighbours(model: str) -> list[str]:
    """Folders and .gguf files beside the path that was asked for."""
    try:
        parent = Path(model).expanduser().parent
        return [
            str(path)
            for path in sorted(parent.iterdir())
            if path.suffix == ".gguf" or (path.is_dir() and not path.name.startswith("."))
        ]
    except (OSError, ValueError, RuntimeError):
        return []
