"""What a router remembers of the prompts that it has sent to replicas."""

from __future__ import annotations

import json

from ftllm.deploy.prefix_index import BLOCK_CHARS, PrefixIndex, block_keys
from ftllm.deploy.routing_text import routing_text

BLOCK = "x" * BLOCK_CHARS


def test_keys_are_of_full_blocks_and_of_all_before_them() -> None:
    assert block_keys(BLOCK[1:]) == []
    first, second = block_keys(BLOCK + BLOCK)
    assert first != second
    assert block_keys(BLOCK + BLOCK + "y") == [first, second]
    other = block_keys("y" * BLOCK_CHARS + BLOCK)
    assert second not in other


def test_the_longest_beginning_counts() -> None:
    index: PrefixIndex[str] = PrefixIndex()
    keys = block_keys(BLOCK * 3)
    index.add("a", keys[:2])
    assert index.matched("a", keys) == 2
    assert index.matched("b", keys) == 0
    assert index.matched("a", block_keys("y" + BLOCK * 3)) == 0
    assert (index.size("a"), index.size("b")) == (2, 0)


def test_the_end_of_what_was_not_used_lately_is_forgotten_first() -> None:
    index: PrefixIndex[str] = PrefixIndex(max_blocks=4)
    old, new = block_keys(BLOCK * 3), block_keys("y" * BLOCK_CHARS * 2)
    index.add("a", old)
    index.add("a", new)
    assert index.matched("a", new) == 2
    assert index.matched("a", old) == 2
    assert index.size("a") == 4


def test_replicas_that_are_gone_are_forgotten() -> None:
    index: PrefixIndex[str] = PrefixIndex()
    keys = block_keys(BLOCK)
    index.add("a", keys)
    index.add("b", keys)
    index.keep_only(["b", "c"])
    assert [index.matched(each, keys) for each in "abc"] == [0, 1, 0]


def test_the_text_of_a_conversation_grows_at_its_end() -> None:
    messages = [{"role": "user", "content": "Hi " * 100}]
    turn = routing_text(json.dumps({"messages": messages, "temperature": 0}).encode())
    messages.append({"role": "assistant", "content": "Hello"})
    later = routing_text(json.dumps({"messages": messages, "model": "m"}).encode())
    assert later.startswith(turn[:-1])  # but for the bracket


def test_tools_and_salt_come_before_messages() -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": [1], "cache_salt": "s"}
    assert routing_text(json.dumps(body).encode()).startswith('"s"[1][{')


def test_what_has_no_prompt_has_no_text() -> None:
    for body in (b"", b"{", b"[1]", b'"x"', b'{"model": "m"}', b"\xff", b"[" * 100_000):
        assert routing_text(body) == ""
