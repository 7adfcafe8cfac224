"""Which full KV block holds which tokens: a content-addressed index over the block pool.

A block is addressed by a hash chained over its prefix. The hash only finds a candidate: a hit also
needs equal tokens, equal salt and the very entry found for the block before it, so that neither a
collision nor a damaged entry can hand out a foreign block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ChainHash = Callable[[int, tuple[int, ...]], int]
"""(hash of the prefix before the block, the block's tokens) -> hash of the prefix with it."""


def chain_hash(prefix: int, tokens: tuple[int, ...]) -> int:
    return hash((prefix, tokens))


@dataclass(frozen=True, slots=True, eq=False)
class CachedBlock:
    """A full block and its content. Entries are compared by identity, which is never reused."""

    block: int
    chain: int  # chained hash of the prefix that ends with this block
    parent: CachedBlock | None  # the block before it, None for the first
    salt: str
    tokens: tuple[int, ...]

    def holds(self, parent: CachedBlock | None, salt: str, tokens: tuple[int, ...]) -> bool:
        return self.parent is parent and self.salt == salt and self.tokens == tokens


class PrefixCache:
    """Index of full blocks. It owns no block: `KvBlocks` tells it when one is evicted."""

    def __init__(self, block_size: int, *, chain_hash: ChainHash = chain_hash) -> None:
        self._block_size = block_size
        self._chain_hash = chain_hash
        self._by_chain: dict[int, CachedBlock] = {}
        self._by_block: dict[int, CachedBlock] = {}
        self.queried_tokens = 0
        self.hit_tokens = 0

    def __len__(self) -> int:
        return len(self._by_block)

    def __contains__(self, block: int) -> bool:
        return block in self._by_block

    def lookup(self, tokens: Sequence[int], salt: str) -> list[CachedBlock]:
        """Blocks of the longest cached prefix. The last token is left out: it must be computed."""
        found: list[CachedBlock] = []
        parent: CachedBlock | None = None
        size = self._block_size
        for start in range(0, (len(tokens) - 1) // size * size, size):
            content = tuple(tokens[start : start + size])
            entry = self._by_chain.get(self._chain(parent, salt, content))
            if entry is None or not self._has(entry, parent, salt, content):
                break
            found.append(entry)
            parent = entry
        return found

    def insert(
        self, block: int, parent: CachedBlock | None, salt: str, tokens: tuple[int, ...]
    ) -> CachedBlock | None:
        """Enter a full block, or return the entry that already has its content.

        None if the hash is taken by other content: the block then stays out of the cache.
        """
        chain = self._chain(parent, salt, tokens)
        entry = self._by_chain.get(chain)
        if entry is None:
            entry = CachedBlock(block, chain, parent, salt, tokens)
            self._by_chain[chain] = self._by_block[block] = entry
        return entry if self._has(entry, parent, salt, tokens) else None

    def forget(self, block: int) -> None:
        entry = self._by_block.pop(block)
        if self._by_chain.get(entry.chain) is entry:
            del self._by_chain[entry.chain]

    def check(self) -> None:
        """Assert that the index is consistent with itself."""
        assert len(self._by_chain) == len(self._by_block), "two entries share a hash or a block"
        for block, entry in self._by_block.items():
            assert entry.block == block, f"block {block} is indexed as {entry.block}"
            assert self._by_chain.get(entry.chain) is entry, f"block {block}: its hash is lost"
            assert entry.chain == self._chain(entry.parent, entry.salt, entry.tokens), (
                f"block {block}: its hash does not match its tokens"
            )
            assert len(entry.tokens) == self._block_size, f"block {block} is not full"
            if entry.parent is not None:
                assert self._by_block.get(entry.parent.block) is entry.parent, (
                    f"block {block} outlived the block before it"
                )

    def _has(
        self, entry: CachedBlock, parent: CachedBlock | None, salt: str, tokens: tuple[int, ...]
    ) -> bool:
        """The entry is of this content, and of the block that it names."""
        return entry.holds(parent, salt, tokens) and self._by_block.get(entry.block) is entry

    def _chain(self, parent: CachedBlock | None, salt: str, tokens: tuple[int, ...]) -> int:
        return self._chain_hash(hash(salt) if parent is None else parent.chain, tokens)
