"""The pool of KV blocks: reference counts, the free list, and eviction of idle cached blocks."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

from ftllm.engine.prefix_cache import PrefixCache


class KvBlocks:
    """Every block is in exactly one place: in use (referenced), idle (cached, unreferenced), free.

    Idle blocks keep their content for later prefix hits until they are needed; the least recently
    released goes first.
    """

    def __init__(self, num_blocks: int, cache: PrefixCache) -> None:
        self._cache = cache
        self._references = [0] * num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))  # the last is taken first
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently released first
        self.releases = 0  # how often a block became available

    @property
    def num_blocks(self) -> int:
        return len(self._references)

    @property
    def available(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._idle)

    @property
    def used(self) -> int:
        return self.num_blocks - self.available

    def is_idle(self, block: int) -> bool:
        return block in self._idle

    def take(self) -> int:
        """A block for new content, with one reference. The caller has checked `available`."""
        if self._free:
            block = self._free.pop()
        else:
            block, _ = self._idle.popitem(last=False)
            self._cache.forget(block)
        self._references[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more reference to a cached block."""
        self._references[block] += 1
        self._idle.pop(block, None)

    def release(self, block: int) -> None:
        """One reference less. A sequence releases its last block first, so that eviction takes
        the ends of prefixes before their beginnings."""
        self._references[block] -= 1
        if self._references[block] > 0:
            return
        self.releases += 1
        if block in self._cache:
            self._idle[block] = None
        else:
            self._free.append(block)

    def free_idle(self) -> None:
        """Forget the content of idle blocks. Blocks in use keep theirs: a block is in use only
        together with those of its prefix, so no entry loses the one before it."""
        while self._idle:
            block, _ = self._idle.popitem()
            self._cache.forget(block)
            self._free.append(block)

    def check(self, held: Iterable[int]) -> None:
        """Assert that counts and places agree with `held`, every reference of live sequences."""
        references = Counter(held)
        for block, count in enumerate(self._references):
            assert count == references[block], (
                f"block {block} has {count} references, but {references[block]} sequences hold it"
            )
        free, idle = set(self._free), set(self._idle)
        assert len(free) == len(self._free), "a block is in the free list twice"
        assert not free & idle, f"blocks {free & idle} are both free and idle"
        assert not (free | idle) & references.keys(), "a block in use is also free or idle"
        assert len(free) + len(idle) + len(references) == self.num_blocks, "a block is lost"
        for block in free:
            assert block not in self._cache, f"free block {block} is cached"
        for block in idle:
            assert block in self._cache, f"idle block {block} is not cached"
        self._cache.check()
