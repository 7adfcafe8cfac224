"""Hash collisions and damaged entries of the prefix cache, through the whole scheduler: a request
gets the tokens that it would get alone, or the same again, never a foreign block's.

The fake executor's output depends on everything that a row reads from its blocks, so one wrong
block changes the answer; `verify` compares each with the answer that needs no cache.
"""

from __future__ import annotations

import random

import pytest
from engine_driver import Collector, expected, make_engine
from fake_executor import FakeExecutor
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.prefix_cache import CachedBlock, ChainHash
from ftllm.engine.request import FinishReason

BLOCK = 4

HASHES: dict[str, ChainHash] = {
    "all_collide": lambda prefix, tokens: 42,
    "three_values": lambda prefix, tokens: hash((prefix, tokens)) % 3,
    "blind_to_the_prefix": lambda prefix, tokens: hash(tokens),
    "blind_to_the_tokens": lambda prefix, tokens: prefix + 1,
}


def prompts(count: int) -> list[list[int]]:
    """Of a few blocks each, drawn from so few that most share some with others, at the same and at
    other places."""
    draw = random.Random(5)
    blocks = [[draw.randrange(48) for _ in range(BLOCK)] for _ in range(4)]
    made = []
    for _ in range(count):
        chosen = [draw.choice(blocks) for _ in range(draw.randrange(1, 6))]
        made.append([token for block in chosen for token in block] + [draw.randrange(48)])
    return made


@pytest.mark.parametrize("name", HASHES)
def test_collisions_never_give_wrong_tokens(name: str) -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=40), chain_hash=HASHES[name])
    for number, tokens in enumerate(prompts(60)):
        driver.add(make_request(f"r{number}", tokens, max_tokens=6))
        if number % 3 == 2:
            driver.run()
    driver.run()
    driver.verify()


@pytest.mark.parametrize("field", ["tokens", "salt", "parent", "block", "chain"])
def test_damaged_entries_never_give_wrong_tokens(field: str) -> None:
    """They are damaged while the engine is idle; what they held is computed again."""
    draw = random.Random(9)
    engine = make_engine(FakeExecutor(num_blocks=40))
    cache = engine._scheduler.tables._index
    damaged = 0
    engine.start()
    for number, tokens in enumerate(prompts(60)):
        request = make_request(f"r{number}", tokens, max_tokens=6)
        sink = Collector()
        engine.submit(request, sink)
        assert sink.wait().reason is FinishReason.LENGTH
        assert sink.tokens == expected(request)
        assert engine.stats().kv_blocks_used == 0
        for entry in cache._by_block.values():
            if draw.random() < 0.1:
                _damage(entry, field, draw)
                damaged += 1
    engine.shutdown()
    assert damaged > 20
    assert engine.stats().prefix_hit_tokens > 0  # the sound ones are of use


def _damage(entry: CachedBlock, field: str, draw: random.Random) -> None:
    tokens = list(entry.tokens)
    tokens[draw.randrange(BLOCK)] = 49  # a token that no prompt has
    values = {
        "tokens": tuple(tokens),
        "salt": "rotten",
        "parent": entry,
        "block": (entry.block + draw.randrange(1, 40)) % 40,
        "chain": entry.chain ^ 1,
    }
    object.__setattr__(entry, field, values[field])
