"""An API key: whose it is, and what it may use. The key itself is known by its hash only."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

HASH_PREFIX: Final = "sha256:"
_HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What a key may use; None = as much as there is. A minute is any 60 seconds."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # of prompts and of answers
    max_concurrency: int | None = None  # requests that are being answered

    @property
    def any(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS: Final = KeyLimits()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The access log and the metrics have the name, and nothing has the key."""

    digest: bytes = field(repr=False)  # SHA-256 of the key
    name: str | None = None
    limits: KeyLimits = NO_LIMITS
    priority: int = 0  # of its requests; lower runs first
    models: frozenset[str] | None = None  # that it may use; None = all

    @classmethod
    def of(cls, key: str, name: str | None = None) -> ApiKey:
        """For a key that is known itself."""
        return cls(key_digest(key), name)

    @property
    def account(self) -> str:
        """What its use is counted under; keys of one name share it."""
        return self.name or self.digest.hex()

    @property
    def plain(self) -> bool:
        """It opens the server and sets no limit."""
        return self == ApiKey(self.digest, self.name)


def key_digest(key: str) -> bytes:
    """A key is random and long, so that nobody can go through all: a plain hash is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def written_hash(key: str) -> str:
    """As files have it."""
    return f"{HASH_PREFIX}{key_digest(key).hex()}"


def parse_hash(text: str) -> bytes | None:
    """The digest, or None if `text` is no hash."""
    found = _HASH.fullmatch(text.strip())
    return None if found is None else bytes.fromhex(found[1])
