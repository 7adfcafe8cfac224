from __future__ import annotations

import pytest

from ftllm.text.fill_in_middle import find_fill_in_middle
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.gguf_vocabulary import TokenKind
from ftllm.text.tokenizer import Tokenizer

from .tiny_vocabularies import PREFIX, byte_level_keys, sentencepiece_keys


def with_markers(keys: dict[str, object], *markers: str) -> Tokenizer:
    """The vocabulary of `keys` with further control tokens."""
    additions = {
        "tokens": list(markers),
        "token_type": [int(TokenKind.CONTROL)] * len(markers),
        "scores": [0.0] * len(markers),
    }
    for name, values in additions.items():
        known = keys.get(PREFIX + name)
        if isinstance(known, list):
            keys[PREFIX + name] = [*known, *values]
    return tokenizer_from_gguf(keys)


@pytest.mark.parametrize(
    ("markers", "order"),
    [
        (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), "0p1s2"),
        (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), "0p1s2"),
        (("<fim-prefix>", "<fim-suffix>", "<fim-middle>"), "0p1s2"),
        (
            (
                "<\uff5cfim\u2581begin\uff5c>",
                "<\uff5cfim\u2581hole\uff5c>",
                "<\uff5cfim\u2581end\uff5c>",
            ),
            "0p1s2",
        ),
        (("<PRE>", "<SUF>", "<MID>"), "0p1s2"),
        (("[PREFIX]", "[SUFFIX]"), "1s0p"),
    ],
)
def test_every_spelling(markers: tuple[str, ...], order: str) -> None:
    tokenizer = with_markers(byte_level_keys(), *markers)
    found = find_fill_in_middle(tokenizer)
    assert found is not None
    first = tokenizer.vocab_size - len(markers)
    pieces = {"p": [1, 2], "s": tokenizer.encode("yz")}
    expected: list[int] = []
    for part in order:
        expected += pieces[part] if part in pieces else [first + int(part)]
    assert found.prompt(tokenizer, [1, 2], "yz") == expected
    assert found.stop_token_ids == {first + place for place in range(len(markers))}


def test_other_markers_end_a_middle() -> None:
    markers = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|file_sep|>")
    found = find_fill_in_middle(with_markers(byte_level_keys(), *markers))
    assert found is not None
    assert len(found.stop_token_ids) == 5


@pytest.mark.parametrize("markers", [(), ("<|fim_prefix|>", "<|fim_suffix|>"), ("<SUF>",)])
def test_no_or_not_all_markers(markers: tuple[str, ...]) -> None:
    assert find_fill_in_middle(with_markers(byte_level_keys(), *markers)) is None


def test_a_suffix_gets_no_first_space() -> None:
    markers = ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>", "\u2581<EOT>")
    tokenizer = with_markers(sentencepiece_keys(), *markers)
    assert tokenizer.drops_first_space
    found = find_fill_in_middle(tokenizer)
    assert found is not None
    prefix = tokenizer.encode("hello", add_special_tokens=False)
    prompt = found.prompt(tokenizer, prefix, "hello a")
    inner = prompt[len(prefix) + 2 : -1]
    assert [tokenizer.token_piece(token_id) for token_id in inner] == ["hello", "\u2581a"]
    assert len(found.stop_token_ids) == 4
