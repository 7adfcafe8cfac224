"""Ids equal those of the reference tokenizers (make_golden_ids.py)."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.tokenizer import Tokenizer
from tests.text.corpus import PLAIN, TEXTS

_GOLDEN = json.loads((Path(__file__).parent / "golden" / "token_ids.json").read_text("utf-8"))

pytestmark = pytest.mark.parametrize("name", sorted(_GOLDEN))


def test_ids_equal_the_reference(name: str, real_tokenizer: Callable[[str], Tokenizer]) -> None:
    tokenizer = real_tokenizer(name)
    assert len(_GOLDEN[name]) == len(TEXTS)
    for text, expected in zip(TEXTS, _GOLDEN[name], strict=True):
        assert tokenizer.encode(text, add_special_tokens=False) == expected, text


def test_decoding_gives_the_text_back(
    name: str, real_tokenizer: Callable[[str], Tokenizer]
) -> None:
    tokenizer = real_tokenizer(name)
    for text, ids in zip(PLAIN, _GOLDEN[name], strict=False):
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        assert _canonical(decoded) == _canonical(text)


def _canonical(text: str) -> str:
    """Without what tokenizers may change: composition (NFC), and "▁" for SentencePiece's space."""
    return unicodedata.normalize("NFC", text).replace("\u2581", " ")


def test_streamed_text_is_the_decoded_text(
    name: str, real_tokenizer: Callable[[str], Tokenizer]
) -> None:
    tokenizer = real_tokenizer(name)
    for ids in _GOLDEN[name]:
        detokenizer = IncrementalDetokenizer(tokenizer)
        parts = [detokenizer.feed((token_id,)) for token_id in ids]
        assert not any("\ufffd" in part for part in parts) or "\ufffd" in tokenizer.decode(ids)
        assert "".join(parts) + detokenizer.finish() == tokenizer.decode(ids)
