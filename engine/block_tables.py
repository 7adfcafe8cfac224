"""Which KV blocks each running sequence holds, as the rows of one array."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ftllm.engine.engine_config import EngineLimits
from ftllm.engine.kv_blocks import KvBlocks
from ftllm.engine.plan import Int32Array
from ftllm.engine.prefix_cache import PrefixCache
from ftllm.engine.sequence import NO_SLOT, Sequence


class BlockTables:
    """Gives blocks to sequences and takes them back; full blocks are entered in the prefix cache.

    `cache` None turns prefix caching off.
    """

    def __init__(self, limits: EngineLimits, cache: PrefixCache | None) -> None:
        self._block_size = limits.block_size
        self._cache = cache
        self._index = cache if cache is not None else PrefixCache(limits.block_size)
        self.blocks = KvBlocks(limits.num_blocks, self._index)
        self._era = 0  # entries of an earlier one are found no more
        width = -(-limits.context_len // limits.block_size)
        self._rows: Int32Array = np.full((limits.max_batch, width), -1, np.int32)
        self._free_slots = list(range(limits.max_batch - 1, -1, -1))

    @property
    def queried_tokens(self) -> int:
        return self._index.queried_tokens

    @property
    def hit_tokens(self) -> int:
        return self._index.hit_tokens

    @property
    def cached_blocks(self) -> int:
        return len(self._index)

    def reset_cache(self) -> None:
        """Nothing computed so far is found again; running sequences keep what they hold."""
        self._era += 1
        self.blocks.free_idle()

    def admit(self, seq: Sequence, *, spare: int) -> bool:
        """Give `seq` a row and the blocks of all its tokens, sharing those of a cached prefix.

        False, and nothing changed, unless at least `spare` blocks stay available.
        """
        if seq.blocked_at == self.blocks.releases:  # nothing came back since the last try
            return False
        skips = seq.prompt_logprobs is None and not (seq.pooler and seq.pooler.whole_prompt)
        searched = self._cache is not None and skips
        hits = self._index.lookup(seq.tokens, self._salt(seq)) if searched else []
        needed = -(-len(seq.tokens) // self._block_size) - len(hits)
        revived = sum(self.blocks.is_idle(entry.block) for entry in hits)
        if needed + revived + spare > self.blocks.available:
            seq.blocked_at = self.blocks.releases
            return False
        seq.slot = self._free_slots.pop()
        for entry in hits:
            self.blocks.share(entry.block)
            self._append(seq, entry.block)
        for _ in range(needed):
            self._append(seq, self.blocks.take())
        seq.cached = hits
        seq.num_computed = len(hits) * self._block_size
        seq.next_full = 0 if self._cache is None else seq.num_computed + self._block_size
        if seq.cached_tokens is None:  # its own recomputed tokens are no cache hits
            seq.cached_tokens = seq.num_computed
            if searched:
                self._index.queried_tokens += len(seq.tokens)
                self._index.hit_tokens += seq.num_computed
        return True

    def grow(self, seq: Sequence) -> bool:
        """Make room for one more token; False when no block is left."""
        if not self.blocks.available:
            return False
        self._append(seq, self.blocks.take())
        return True

    def draft_room(self, seq: Sequence, *, spare: int) -> int:
        """How many drafts `seq` can have while at least `spare` blocks stay available."""
        free = max(0, self.blocks.available - spare)
        return seq.room + free * self._block_size - len(seq.tokens)

    def trim(self, seq: Sequence) -> None:
        """Take back the blocks that only rejected drafts needed."""
        while seq.room - self._block_size >= len(seq.tokens):
            self.blocks.release(seq.blocks.pop())
            self._rows[seq.slot, len(seq.blocks)] = -1
            seq.room -= self._block_size

    def enter_full_blocks(self, seq: Sequence) -> None:
        """Enter the blocks that `seq` has filled; a block whose content is cached is replaced by
        the cached one, so that equal prefixes are stored once."""
        size = self._block_size
        while 0 < seq.next_full <= seq.num_computed:
            place = len(seq.cached)
            block = seq.blocks[place]
            parent = seq.cached[-1] if seq.cached else None
            content = tuple(seq.tokens[seq.next_full - size : seq.next_full])
            entry = self._index.insert(block, parent, self._salt(seq), content)
            if entry is None:
                seq.next_full = 0
                return
            if entry.block != block:
                self.blocks.share(entry.block)
                self.blocks.release(block)
                seq.blocks[place] = self._rows[seq.slot, place] = entry.block
            seq.cached.append(entry)
            seq.next_full += size

    def release(self, seq: Sequence) -> None:
        for block in reversed(seq.blocks):
            self.blocks.release(block)
        self._rows[seq.slot, : len(seq.blocks)] = -1
        self._free_slots.append(seq.slot)
        seq.slot = NO_SLOT
        seq.blocks, seq.room, seq.cached = [], 0, []

    def gather(self, slots: list[int], width: int) -> Int32Array:
        """A copy of the rows `slots`, (len(slots), width)."""
        return self._rows[:, :width].take(slots, axis=0)

    def check(self, running: Iterable[Sequence]) -> None:
        """Assert that rows, blocks and cache entries agree with the running sequences."""
        sequences = list(running)
        slots = [seq.slot for seq in sequences]
        assert sorted(slots + self._free_slots) == list(range(len(self._rows))), "slots"
        expected = np.full_like(self._rows, -1)
        for seq in sequences:
            name = seq.request.request_id
            expected[seq.slot, : len(seq.blocks)] = seq.blocks
            assert seq.room == len(seq.blocks) * self._block_size, f"{name}: room"
            assert len(set(seq.blocks)) == len(seq.blocks), f"{name} holds a block twice"
            assert seq.room >= len(seq.tokens) - 1, f"{name}: too few blocks"
            assert seq.room < len(seq.tokens) + self._block_size, f"{name}: too many blocks"
            for entry, block in zip(seq.cached, seq.blocks, strict=False):
                assert entry.block == block, f"{name}: block {block} is not its cached one"
            filled = seq.num_computed // self._block_size
            if seq.next_full:
                assert len(seq.cached) == filled, f"{name}: full blocks are not cached"
                assert seq.next_full == (filled + 1) * self._block_size, f"{name}: next_full"
            for block in seq.blocks[filled:]:
                assert block not in self._index, f"{name} would write cached block {block}"
        assert np.array_equal(self._rows, expected), "the table does not match the sequences"
        self.blocks.check(block for seq in sequences for block in seq.blocks)

    def _salt(self, seq: Sequence) -> str:
        return f"{self._era} {seq.request.cache_salt}"

    def _append(self, seq: Sequence, block: int) -> None:
        self._rows[seq.slot, len(seq.blocks)] = block
        seq.blocks.append(block)
        seq.room += self._block_size
