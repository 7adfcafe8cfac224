from __future__ import annotations

import pytest

from ftllm.engine.prefix_cache import CachedBlock, PrefixCache


def fill(cache: PrefixCache, tokens: list[int], *, salt: str = "", first_block: int = 0) -> None:
    parent: CachedBlock | None = None
    for place in range(len(tokens) // 4):
        content = tuple(tokens[place * 4 : place * 4 + 4])
        parent = cache.insert(first_block + place, parent, salt, content)
        assert parent is not None


def hits(cache: PrefixCache, tokens: list[int], salt: str = "") -> list[int]:
    return [entry.block for entry in cache.lookup(tokens, salt)]


def test_longest_prefix_is_found() -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(12)])
    assert hits(cache, [*range(20)]) == [0, 1, 2]
    assert hits(cache, [*range(8), 99, 9, 10, 11, 12]) == [0, 1]
    assert hits(cache, [4, 5, 6, 7, 8]) == []
    cache.check()


def test_last_token_is_never_found() -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(8)])
    assert hits(cache, [*range(8)]) == [0]
    assert hits(cache, [*range(9)]) == [0, 1]
    assert hits(cache, [0]) == []


def test_equal_content_after_another_prefix_is_another_block() -> None:
    cache = PrefixCache(4)
    fill(cache, [1, 1, 1, 1, 5, 6, 7, 8])
    assert hits(cache, [2, 2, 2, 2, 5, 6, 7, 8, 9]) == []


def test_salt_separates() -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(8)], salt="alice")
    fill(cache, [*range(8)], salt="bob", first_block=5)
    assert hits(cache, [*range(9)], "alice") == [0, 1]
    assert hits(cache, [*range(9)], "bob") == [5, 6]
    assert hits(cache, [*range(9)]) == []


def test_known_content_gives_the_entry_that_has_it() -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(4)])
    entry = cache.insert(7, None, "", (0, 1, 2, 3))
    assert entry is not None
    assert entry.block == 0
    assert 7 not in cache


def test_hash_collision_is_a_miss() -> None:
    cache = PrefixCache(4, chain_hash=lambda prefix, tokens: 42)
    assert cache.insert(0, None, "", (1, 2, 3, 4)) is not None
    assert hits(cache, [5, 6, 7, 8, 9]) == []
    assert hits(cache, [1, 2, 3, 4, 9]) == [0]
    assert cache.insert(1, None, "", (5, 6, 7, 8)) is None
    assert cache.insert(1, None, "salted", (1, 2, 3, 4)) is None
    assert 1 not in cache
    cache.check()


def test_forgotten_block_is_a_miss_and_its_children_too() -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(8)])
    cache.forget(1)
    assert hits(cache, [*range(9)]) == [0]
    cache.check()
    fill(cache, [*range(8)], first_block=0)
    cache.forget(0)
    assert hits(cache, [*range(9)]) == []


def test_reused_parent_block_does_not_adopt_children() -> None:
    """A child that outlived its parent must not follow whatever now lives in that block."""
    cache = PrefixCache(4, chain_hash=lambda prefix, tokens: hash(tokens))  # blind to the prefix
    fill(cache, [1, 1, 1, 1, 5, 6, 7, 8])
    cache.forget(0)
    assert cache.insert(0, None, "", (2, 2, 2, 2)) is not None
    assert hits(cache, [2, 2, 2, 2, 5, 6, 7, 8, 9]) == [0]


@pytest.mark.parametrize(
    ("field", "value"), [("tokens", (9, 9, 9, 9)), ("salt", "other"), ("block", 3)]
)
def test_damaged_entry_is_reported(field: str, value: object) -> None:
    cache = PrefixCache(4)
    fill(cache, [*range(8)])
    cache.check()
    entry = cache.lookup([*range(9)], "")[0]
    object.__setattr__(entry, field, value)
    with pytest.raises(AssertionError):
        cache.check()
    if field != "block":
        assert hits(cache, [*range(9)]) == []
