"""The order in which replicas are asked to answer a prompt."""

from __future__ import annotations

from ftllm.deploy.prefix_choice import PrefixChoice
from ftllm.deploy.prefix_index import BLOCK_CHARS, block_keys

KEYS = block_keys("x" * BLOCK_CHARS * 4)
OTHERS = block_keys("y" * BLOCK_CHARS * 4)


def choice(*, max_imbalance: int = 8) -> PrefixChoice[str]:
    """ "b" has read the prompt."""
    made: PrefixChoice[str] = PrefixChoice(min_match=0.5, max_imbalance=max_imbalance)
    made.sent("b", KEYS)
    return made


def test_who_has_read_the_beginning_comes_first() -> None:
    assert choice().ranked({"a": 0, "b": 3, "c": 1}, KEYS) == ["b", "a", "c"]


def test_unless_it_has_much_more_to_do() -> None:
    assert choice(max_imbalance=2).ranked({"a": 0, "b": 3, "c": 1}, KEYS) == ["a", "c", "b"]
    assert choice(max_imbalance=2).ranked({"a": 1, "b": 3}, KEYS) == ["b", "a"]


def test_the_longer_beginning_wins() -> None:
    made = choice()
    made.sent("a", KEYS[:3])
    assert made.ranked({"a": 0, "b": 0}, KEYS) == ["b", "a"]


def test_a_short_beginning_does_not_count() -> None:
    made: PrefixChoice[str] = PrefixChoice(min_match=0.5)
    made.sent("b", KEYS[:1])
    assert made.ranked({"a": 0, "b": 0}, KEYS) == ["a", "b"]  # less has been read there


def test_new_prompts_go_to_the_fewest_requests_and_then_to_the_emptiest_cache() -> None:
    assert choice().ranked({"a": 1, "b": 0}, OTHERS) == ["b", "a"]
    assert choice().ranked({"b": 0, "a": 0}, OTHERS) == ["a", "b"]


def test_what_has_no_prompt_goes_anywhere_among_equals() -> None:
    first = {choice().ranked({"a": 0, "b": 0}, ())[0] for _ in range(100)}
    assert first == {"a", "b"}
    assert choice().ranked({"a": 1, "b": 0}, ()) == ["b", "a"]


def test_a_replica_that_is_gone_is_forgotten() -> None:
    made = choice()
    made.keep_only(["a"])
    made.sent("a", OTHERS)
    assert made.ranked({"a": 0, "b": 0}, KEYS) == ["b", "a"]  # as an empty one
