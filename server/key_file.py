"""Files of API keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey, KeyLimits, key_digest, parse_hash

YAML_SUFFIXES = (".yaml", ".yml")
LIMIT_FIELDS: Final = ("requests_per_minute", "tokens_per_minute", "max_concurrency")
FIELDS: Final = ("name", "key", "hash", *LIMIT_FIELDS, "priority", "models")
MAX_PRIORITY: Final = 2**31 - 1
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")  # safe in a log line

Entry = Mapping[object, object]


def read_key_file(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file. Plain text has a key a line and after it, if wanted, a name; empty lines
    and lines that start with # do not count. YAML (.yaml, .yml) has a list of keys or of mappings
    with `FIELDS`, or a mapping of names to either.

    Raises `OptionError` when it cannot be read, holds no key or something else. Messages quote no
    content, which may be a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The API key file {path} cannot be read: {error}") from error
    keys = parse_keys(text, path)
    if not keys:
        raise OptionError(f"The API key file {path} holds no key; write one key a line.")
    return keys


def parse_keys(text: str, path: Path) -> tuple[ApiKey, ...]:
    """`read_key_file` for a text that is, or will be, in `path`; it may hold no key."""
    try:
        entries = _yaml_entries(text) if path.suffix in YAML_SUFFIXES else _lines(text)
        return tuple(_api_key(place, entry) for place, entry in entries)
    except yaml.YAMLError as error:
        raise OptionError(f"The API key file {path} is not valid YAML.") from error
    except ValueError as error:
        raise OptionError(f"The API key file {path}: {error}") from error


def check_name(name: object, place: str) -> str:
    """Raises `ValueError` unless it is fit for a log line."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise ValueError(
            f"{place} has an unusable name: 1 to 64 letters, digits or any of . _ @ + -"
        )
    return name


def _lines(text: str) -> Iterator[tuple[str, Entry]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise ValueError(
                f"line {number} has {len(words)} words; write a key and its name. Limits need a"
                " file that ends in .yaml."
            )
        if parse_hash(words[0]) is not None:
            raise ValueError(
                f"line {number} has a hash in place of a key; that needs a file that ends in .yaml."
            )
        yield f"line {number}", dict(zip(("key", "name"), words, strict=False))


def _yaml_entries(text: str) -> Iterator[tuple[str, Entry]]:
    content = yaml.safe_load(text)
    if isinstance(content, dict):
        for number, (name, value) in enumerate(content.items(), 1):
            place = f"entry {number}"
            fields = value if isinstance(value, dict) else {"key": value}
            if "name" in fields:
                raise ValueError(f"{place} has two names; its place in the mapping is one.")
            yield place, {**fields, "name": check_name(name, place)}
        return
    if not isinstance(content, list | None):
        raise ValueError("it must hold a list of keys, or a mapping of names to keys.")
    for number, entry in enumerate(content or (), 1):
        yield f"entry {number}", entry if isinstance(entry, dict) else {"key": entry}


def _api_key(place: str, entry: Entry) -> ApiKey:
    for field in entry:
        if field not in FIELDS:
            raise ValueError(f"{place} {_unknown_field(field)}")
    name = entry.get("name")
    return ApiKey(
        digest=_digest(place, entry),
        name=None if name is None else check_name(name, place),
        limits=KeyLimits(
            requests_per_minute=_count(place, entry, "requests_per_minute"),
            tokens_per_minute=_count(place, entry, "tokens_per_minute"),
            max_concurrency=_count(place, entry, "max_concurrency"),
        ),
        priority=_priority(place, entry),
        models=_models(place, entry),
    )


def _unknown_field(field: object) -> str:
    """Names it only if it is like a known one: it may be a key that slipped there."""
    near = difflib.get_close_matches(str(field), FIELDS, n=1)
    if near:
        return f"has the unknown field {field!r}; did you mean {near[0]!r}?"
    return f"has other fields than {', '.join(FIELDS)}."


def _digest(place: str, entry: Entry) -> bytes:
    key, hashed = entry.get("key"), entry.get("hash")
    if "key" in entry and "hash" in entry:
        raise ValueError(f"{place} has a key and a hash; give one of them.")
    if "hash" in entry:
        digest = parse_hash(hashed) if isinstance(hashed, str) else None
        if digest is None:
            raise ValueError(
                f"{place} has no usable hash: it must be sha256: and 64 hexadecimal digits, as"
                " `ftllm keys new` prints it."
            )
        return digest
    if not isinstance(key, str) or not key.strip() or len(key.split()) != 1:
        raise ValueError(f"{place} has no usable key: a text without spaces (quote numbers).")
    if parse_hash(key) is not None:
        raise ValueError(f"{place} has a hash as its key; call the field hash.")
    return key_digest(key.strip())


def _count(place: str, entry: Entry, field: str) -> int | None:
    value = entry.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{place} has an unusable {field}: it must be a whole number of at least 1. Leave it"
            " out for no limit."
        )
    return value


def _priority(place: str, entry: Entry) -> int:
    value = entry.get("priority", 0)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_PRIORITY:
        raise ValueError(
            f"{place} has an unusable priority: it must be a whole number from -{MAX_PRIORITY} to"
            f" {MAX_PRIORITY}; lower runs first."
        )
    return value


def _models(place: str, entry: Entry) -> frozenset[str] | None:
    value = entry.get("models")
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(
            f"{place} has unusable models: it must be a list of names. Leave it out for all."
        )
    return frozenset(names)
