from __future__ import annotations

import pytest

from ftllm.errors import RequestError
from ftllm.text.bad_words import bad_word_ids
from ftllm.text.tokenizer import Tokenizer


def pieces(tokenizer: Tokenizer, *words: str) -> list[list[str | None]]:
    sequences = bad_word_ids(tokenizer, words)
    return [[tokenizer.token_piece(token_id) for token_id in ids] for ids in sequences]


def test_a_word_at_the_start_and_after_a_space(byte_level: Tokenizer) -> None:
    assert pieces(byte_level, "hello") == [["hello"], ["Ġhello"]]
    assert pieces(byte_level, "  hello") == [["hello"], ["Ġhello"]]
    assert pieces(byte_level, "helx") == [["he", "l", "x"], ["Ġ", "he", "l", "x"]]


def test_each_sequence_once(byte_level: Tokenizer) -> None:
    assert len(bad_word_ids(byte_level, ["hello", " hello", "a"])) == 4
    assert bad_word_ids(byte_level, []) == ()


def test_sentencepiece(sentencepiece: Tokenizer) -> None:
    assert ["\u2581hello"] in pieces(sentencepiece, "hello")


@pytest.mark.parametrize("word", ["", " ", "\t\n"])
def test_a_blank_word_is_refused(byte_level: Tokenizer, word: str) -> None:
    with pytest.raises(RequestError, match="bad_words") as caught:
        bad_word_ids(byte_level, ["fine", word])
    assert caught.value.param == "bad_words"
