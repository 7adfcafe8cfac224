"""New API keys, and their entries in a YAML file of keys."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey, KeyLimits, written_hash
from ftllm.server.key_file import LIMIT_FIELDS, YAML_SUFFIXES, check_name, parse_keys

KEY_PREFIX: Final = "sk-ftllm-"
KEY_BYTES: Final = 32


def make_key() -> str:
    """256 random bits."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(KEY_BYTES)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """An entry to be; the file has the key's hash. Raises `OptionError` for an unusable name."""

    name: str
    hash: str
    limits: KeyLimits
    priority: int = 0
    models: tuple[str, ...] = ()  # none: all

    def __post_init__(self) -> None:
        try:
            check_name(self.name, "The key")
        except ValueError as error:
            raise OptionError(str(error)) from error

    @classmethod
    def of(
        cls,
        key: str,
        *,
        name: str,
        limits: KeyLimits,
        priority: int = 0,
        models: tuple[str, ...] = (),
    ) -> KeyEntry:
        return cls(
            name=name, hash=written_hash(key), limits=limits, priority=priority, models=models
        )

    def as_item(self) -> str:
        """Of a list."""
        return _yaml([{"name": self.name, **self._fields()}])

    def as_value(self) -> str:
        """Of a mapping of names to keys."""
        return _yaml({self.name: self._fields()})

    def _fields(self) -> dict[str, object]:
        fields: dict[str, object] = {"hash": self.hash}
        for name in LIMIT_FIELDS:
            if (value := getattr(self.limits, name)) is not None:
                fields[name] = value
        if self.priority:
            fields["priority"] = self.priority
        if self.models:
            fields["models"] = list(self.models)
        return fields


def append_entry(path: Path, entry: KeyEntry) -> None:
    """Adds `entry` to a YAML file of keys, which is made if it is not there. Everything else in it
    stays as it is, and a reader finds the old file or the new one, never a part.

    Raises `OptionError` when the file cannot be read or written, is no file of keys, or has the
    name already.
    """
    path = path.resolve()  # a link stays one
    if path.suffix not in YAML_SUFFIXES:
        raise OptionError(
            f"{path} is no YAML file, so it cannot hold a hash; give one that ends in .yaml."
        )
    try:
        with _locked(path.parent):
            old = path.read_text(encoding="utf-8") if path.exists() else ""
            _replace(path, _with_entry(old, entry, path))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The key could not be added to {path}: {error}") from error


def _with_entry(old: str, entry: KeyEntry, path: Path) -> str:
    known = parse_keys(old, path)
    if any(key.name == entry.name for key in known):
        raise OptionError(
            f"{path} has a key of the name {entry.name!r} already. Choose another name, or remove"
            " that entry first."
        )
    is_mapping = bool(known) and isinstance(yaml.safe_load(old), dict)
    gap = "" if not old or old.endswith("\n") else "\n"
    new = old + gap + (entry.as_value() if is_mapping else entry.as_item())
    added: ApiKey | None = None
    with suppress(OptionError):
        keys = parse_keys(new, path)
        added = keys[-1] if keys[:-1] == known and len(keys) == len(known) + 1 else None
    if added is None or added.name != entry.name:
        raise OptionError(
            f"{path} is written in a way that an entry cannot be added to; write it as a list with"
            f" an entry a line, or add this by hand:\n{entry.as_item()}"
        )
    return new


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, as each writes the whole file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Whoever could read the old file can read the new one; a first one is its owner's alone."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if path.exists():
                status = path.stat()
                with suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=False)
