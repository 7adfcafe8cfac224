"""Drafts are what followed the latest earlier occurrence of the longest n-gram at the end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftllm import _core


def index_of(tokens: Sequence[int], *, shortest: int, longest: int) -> _core.NgramIndex:
    index = _core.NgramIndex(shortest=shortest, longest=longest)
    index.append(tokens)
    return index


def expected(tokens: Sequence[int], *, shortest: int, longest: int, count: int) -> list[int]:
    for length in range(min(longest, len(tokens) - 1), shortest - 1, -1):
        for begin in range(len(tokens) - length - 1, -1, -1):
            if tokens[begin : begin + length] == tokens[-length:]:
                followed = list(tokens)
                for place in range(begin + length, begin + length + count):
                    followed.append(followed[place])
                return followed[len(tokens) :]
    return []


@given(
    tokens=st.lists(st.integers(0, 3), max_size=40),
    shortest=st.integers(1, 4),
    more=st.integers(0, 4),
    count=st.integers(0, 12),
    cut=st.integers(0, 40),
)
def test_continues_the_longest_suffix(
    tokens: list[int], shortest: int, more: int, count: int, cut: int
) -> None:
    index = index_of(tokens[:cut], shortest=shortest, longest=shortest + more)
    index.append(tokens[cut:])
    assert len(index) == len(tokens)
    wanted = expected(tokens, shortest=shortest, longest=shortest + more, count=count)
    assert index.continuation(count) == wanted


def test_a_longer_ngram_wins_over_a_later_one() -> None:
    tokens = [1, 2, 3, 70, 9, 2, 3, 80, 1, 2, 3]
    assert index_of(tokens, shortest=2, longest=4).continuation(2) == [70, 9]
    assert index_of(tokens, shortest=2, longest=2).continuation(2) == [80, 1]


def test_a_repetition_goes_on() -> None:
    index = index_of([5, 6, 7, 6, 7], shortest=2, longest=4)
    assert index.continuation(5) == [6, 7, 6, 7, 6]


def test_nothing_repeats() -> None:
    assert index_of([], shortest=1, longest=1).continuation(3) == []
    assert index_of([1], shortest=1, longest=1).continuation(3) == []
    assert index_of([1, 2, 3, 1], shortest=2, longest=4).continuation(3) == []


@pytest.mark.parametrize(("shortest", "longest"), [(0, 3), (-1, -1), (3, 2)])
def test_bad_lengths_are_refused(shortest: int, longest: int) -> None:
    with pytest.raises(ValueError, match=f"n-grams of {shortest} to {longest} tokens"):
        _core.NgramIndex(shortest=shortest, longest=longest)
