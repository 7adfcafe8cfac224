from __future__ import annotations

from collections import Counter
from itertools import pairwise

import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models

from ftllm.text.merges import derive_merges


def _train(words: list[str], size: int) -> list[str]:
    """Byte-pair encoding as SentencePiece trains it: pieces in the order they were merged."""
    corpus = [list(word) for word in words]
    pieces: list[str] = []
    while len(pieces) < size:
        pairs = Counter(pair for word in corpus for pair in pairwise(word))
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.__getitem__)
        if "".join(best) in pieces:  # another way to write a piece that exists
            break
        pieces.append("".join(best))
        corpus = [_join(word, best) for word in corpus]
    return pieces + sorted(set("".join(words)))


def _join(word: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _sentencepiece(text: str, pieces: list[str]) -> list[str]:
    """Kudo and Richardson (2018): join the leftmost of the neighbours whose union scores best."""
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    symbols = list(text)
    while True:
        unions = [(ranks.get(a + b, len(ranks)), at) for at, (a, b) in enumerate(pairwise(symbols))]
        rank, at = min(unions, default=(len(ranks), 0))
        if rank == len(ranks):
            return symbols
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]


@settings(max_examples=200, deadline=None)
@given(
    words=st.lists(st.text("abc", min_size=1, max_size=8), min_size=1, max_size=12),
    text=st.text("abc", max_size=60),
)
def test_equal_to_the_sentencepiece_algorithm(words: list[str], text: str) -> None:
    pieces = _train(["abc", *words], 20)
    ids = {piece: rank for rank, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=derive_merges(pieces)))
    assert backend.encode(text).tokens == _sentencepiece(text, pieces)


def test_every_split_is_a_merge_longest_left_part_first() -> None:
    pieces = ["ab", "bc", "abc", "a", "b", "c"]
    assert derive_merges(pieces) == [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")]


def test_pieces_that_cannot_be_made_have_no_merge() -> None:
    assert derive_merges(["xyz", "x", "y"]) == []
