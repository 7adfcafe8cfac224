"""Files of API keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ftllm.errors import OptionError

YAML_SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")  # safe in a log line


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, and whose it is: the access log has the name and never the key."""

    key: str = field(repr=False)
    name: str | None = None


def read_key_file(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file. Plain text has a key a line and after it, if wanted, a name; empty lines
    and lines that start with # do not count. YAML (.yaml, .yml) has a list of keys, of
    `{key: …, name: …}`, or a mapping of names to keys.

    Raises `OptionError` when it cannot be read, holds no key or something else. Messages quote no
    content, which may be a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        entries = _yaml_entries(text) if path.suffix in YAML_SUFFIXES else _lines(text)
        keys = tuple(_api_key(place, key, name) for place, key, name in entries)
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The API key file {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise OptionError(f"The API key file {path} is not valid YAML.") from error
    except ValueError as error:
        raise OptionError(f"The API key file {path}: {error}") from error
    if not keys:
        raise OptionError(f"The API key file {path} holds no key; write one key a line.")
    return keys


def _lines(text: str) -> Iterator[tuple[str, object, object]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ValueError(f"line {number} has {len(words)} words; write a key and its name.")
        yield f"line {number}", words[0], words[1] if len(words) == 2 else None


def _yaml_entries(text: str) -> Iterator[tuple[str, object, object]]:
    content = yaml.safe_load(text)
    if isinstance(content, dict):
        for number, (name, key) in enumerate(content.items(), 1):
            yield f"entry {number}", key, name
        return
    if not isinstance(content, list | None):
        raise ValueError("it must hold a list of keys, or a mapping of names to keys.")
    for number, entry in enumerate(content or (), 1):
        place = f"entry {number}"
        if not isinstance(entry, dict):
            yield place, entry, None
        elif entry.keys() <= {"key", "name"}:
            yield place, entry.get("key"), entry.get("name")
        else:
            raise ValueError(f"{place} has other fields than 'key' and 'name'.")


def _api_key(place: str, key: object, name: object) -> ApiKey:
    if not isinstance(key, str) or not key.strip() or len(key.split()) != 1:
        raise ValueError(f"{place} has no usable key: a text without spaces (quote numbers).")
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f"{place} has an unusable name: 1 to 64 letters, digits or any of . _ @ + -"
        )
    return ApiKey(key.strip(), name)
