"""Which replica has read which beginnings of texts, as far as a router can know."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

BLOCK_CHARS: Final = 128  # about one block of the engine's KV cache
DEFAULT_BLOCKS: Final = 32768  # that are remembered of each replica

Replica = TypeVar("Replica")


def block_keys(text: str) -> list[bytes]:
    """A key for each full block of `text`; it tells the block and all of the text before it."""
    keys = []
    chain = hashlib.blake2b(digest_size=16)
    for end in range(BLOCK_CHARS, len(text) + 1, BLOCK_CHARS):
        chain.update(text[end - BLOCK_CHARS : end].encode("utf-8", "surrogatepass"))
        keys.append(chain.digest())
    return keys


class PrefixIndex(Generic[Replica]):
    """A bounded memory of keys for each replica, in which the least recently used go first, as in
    the engine's cache."""

    def __init__(self, *, max_blocks: int = DEFAULT_BLOCKS) -> None:
        self._max_blocks = max_blocks
        self._known: dict[Replica, OrderedDict[bytes, None]] = {}

    def add(self, replica: Replica, keys: Sequence[bytes]) -> None:
        """`replica` reads a text with these keys."""
        known = self._known.setdefault(replica, OrderedDict())
        for key in reversed(keys):  # the beginning is used last, so it stays longest
            known[key] = None
            known.move_to_end(key)
        while len(known) > self._max_blocks:
            known.popitem(last=False)

    def matched(self, replica: Replica, keys: Sequence[bytes]) -> int:
        """How many blocks `replica` should have, counted from the beginning."""
        known = self._known.get(replica)
        if known is None:
            return 0
        for count, key in enumerate(keys):
            if key not in known:
                return count
        return len(keys)

    def size(self, replica: Replica) -> int:
        """How many blocks `replica` should have in all."""
        return len(self._known.get(replica, ()))

    def keep_only(self, replicas: Sequence[Replica]) -> None:
        """Forgets the others: they are gone, and with them their caches."""
        for gone in self._known.keys() - set(replicas):
            del self._known[gone]
