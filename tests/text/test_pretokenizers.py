from __future__ import annotations

from pathlib import Path

import pytest

from ftllm.errors import UnsupportedModelError
from ftllm.text.pretokenizers import GGUF_KINDS, RANK_KINDS, gguf_kind, rank_kind
from ftllm.text.vocabulary import byte_alphabet
from tests.text.corpus import PLAIN

_BYTE_OF = {character: byte for byte, character in byte_alphabet().items()}


def _words(kind: str, text: str) -> list[str]:
    pieces = gguf_kind(kind).pre_tokenizer().pre_tokenize_str(text)
    return [bytes(_BYTE_OF[c] for c in piece).decode("utf-8", "replace") for piece, _ in pieces]


@pytest.mark.parametrize("kind", sorted(GGUF_KINDS))
def test_no_text_is_lost(kind: str) -> None:
    for text in PLAIN:
        assert "".join(_words(kind, text)) == text


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("default", "I'll pay  1234!\n\n", ["I", "'ll", " pay", " ", " 1234", "!", "\n\n"]),
        ("smollm", "it's 123 ok", ["it", "'s", " ", "1", "2", "3", " ok"]),
        ("qwen2", "IT'S 123\n\n x.y\n", ["IT", "'S", " ", "1", "2", "3", "\n\n", " x", ".y", "\n"]),
        ("llama-bpe", "a 12345 (b)\n", ["a", " ", "123", "45", " (", "b", ")\n"]),
        (
            "gpt-4o",
            "camelCase HTTPServer's 1234",
            ["camel", "Case", " HTTPServer's", " ", "123", "4"],
        ),
        ("tekken", "camelCase 1234", ["camel", "Case", " ", "1", "2", "3", "4"]),
        ("deepseek-v3", "x=1234 中文abc", ["x", "=", "123", "4", " ", "中文", "abc"]),
        ("deepseek-llm", "Hi, 你好1 2", ["Hi", ",", " ", "你好", "1", " ", "2"]),
        ("kimi-k2", "中文abc 1234", ["中文", "abc", " ", "123", "4"]),
        ("qwen35", "हिन्दी 12", ["हिन्दी", " ", "1", "2"]),
        ("falcon", "a1234--b", ["a", "123", "4", "--", "b"]),
        ("bloom", "Hi, you", ["Hi", ",", " you"]),
    ],
)
def test_words(kind: str, text: str, words: list[str]) -> None:
    assert _words(kind, text) == words


def test_composed_first_where_the_model_was_trained_so() -> None:
    normalizer = gguf_kind("qwen2").normalizer()
    assert normalizer is not None
    assert normalizer.normalize_str("e\u0301") == "\u00e9"
    assert gguf_kind("smollm").normalizer() is None


def test_an_unknown_kind_names_the_supported_ones() -> None:
    with pytest.raises(UnsupportedModelError, match=r"'brand-new'.*llama-bpe.*qwen2.*smollm"):
        gguf_kind("brand-new")
    with pytest.raises(UnsupportedModelError, match=r"x\.tiktoken.*'Other'.*QWenTokenizer"):
        rank_kind("Other", Path("x.tiktoken"))


@pytest.mark.parametrize("name", sorted(RANK_KINDS))
def test_rank_kinds_look_words_up_first(name: str) -> None:
    assert rank_kind(name, Path("x")).words.ignore_merges
