from __future__ import annotations

import pytest

from ftllm.engine.kv_blocks import KvBlocks
from ftllm.engine.prefix_cache import PrefixCache


def test_takes_every_block_once() -> None:
    blocks = KvBlocks(4, PrefixCache(2))
    taken = [blocks.take() for _ in range(4)]
    assert sorted(taken) == [0, 1, 2, 3]
    assert (blocks.available, blocks.used) == (0, 4)
    blocks.check(taken)
    blocks.release(taken.pop())
    assert blocks.available == 1
    blocks.check(taken)


def test_shared_block_is_available_after_its_last_release() -> None:
    cache = PrefixCache(2)
    blocks = KvBlocks(2, cache)
    block = blocks.take()
    cache.insert(block, None, "", (1, 2))
    blocks.share(block)
    blocks.check([block, block])
    blocks.release(block)
    assert not blocks.is_idle(block)
    assert blocks.releases == 0
    blocks.release(block)
    assert blocks.is_idle(block)
    assert blocks.releases == 1
    blocks.share(block)
    assert not blocks.is_idle(block)
    blocks.check([block])


def test_free_blocks_go_before_cached_ones_and_the_oldest_cached_first() -> None:
    cache = PrefixCache(2)
    blocks = KvBlocks(4, cache)
    taken = [blocks.take() for _ in range(4)]
    for block in taken[:3]:
        cache.insert(block, None, "", (block, block))
    for block in (taken[1], taken[0], taken[3], taken[2]):
        blocks.release(block)
    blocks.check([])
    assert blocks.take() == taken[3]
    blocks.share(taken[1])
    blocks.release(taken[1])  # used again: now the most recent
    assert [blocks.take() for _ in range(3)] == [taken[0], taken[2], taken[1]]
    assert len(cache) == 0
    blocks.check(taken)


@pytest.mark.parametrize("held", [[], [0, 0], [0, 1]])
def test_check_finds_wrong_counts(held: list[int]) -> None:
    blocks = KvBlocks(2, PrefixCache(2))
    assert blocks.take() == 0
    blocks.check([0])
    with pytest.raises(AssertionError, match="references"):
        blocks.check(held)


def test_check_finds_a_block_in_two_places() -> None:
    blocks = KvBlocks(2, PrefixCache(2))
    block = blocks.take()
    blocks.release(block)
    blocks._free.append(block)
    with pytest.raises(AssertionError, match="twice"):
        blocks.check([])


def test_check_finds_a_lost_block() -> None:
    blocks = KvBlocks(2, PrefixCache(2))
    blocks._free.pop()
    with pytest.raises(AssertionError, match="lost"):
        blocks.check([])
