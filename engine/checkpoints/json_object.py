"""JSON files that hold one object: config.json and its like."""

from __future__ import annotations

import json
from pathlib import Path

from ftllm.errors import CheckpointError

_MAX_BYTES = 100_000_000


def read_json_object(path: Path) -> dict[str, object]:
    """The object in a UTF-8 JSON file. Raises `CheckpointError` also when there is no file."""
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise CheckpointError(f"{path}: {size} bytes of JSON; the limit is {_MAX_BYTES}")
        text = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from error
    return parse_json_object(text, where=str(path))


def parse_json_object(data: bytes, *, where: str) -> dict[str, object]:
    """The object in UTF-8 JSON bytes; a key that occurs twice in one object is an error."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where}: not valid UTF-8: {error.reason}") from error
    except RecursionError:
        raise CheckpointError(f"{where}: JSON nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{where}: invalid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: a JSON object is expected, not a {type(value).__name__}")
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise ValueError(f"the key {twice!r} occurs twice")
    return result
