from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.tokenizer import Tokenizer
from tests.text.tiny_vocabularies import byte_level_keys, sentencepiece_keys

_TOKENIZERS = {
    "byte level": tokenizer_from_gguf(byte_level_keys()),
    "sentencepiece": tokenizer_from_gguf(sentencepiece_keys()),
    "without prefix": tokenizer_from_gguf(sentencepiece_keys(add_space_prefix=False)),
}
_IDS = st.lists(st.integers(0, 320), max_size=30)  # some past the end of the vocabulary


def _stream(tokenizer: Tokenizer, chunks: Sequence[Sequence[int]], **options: object) -> list[str]:
    detokenizer = IncrementalDetokenizer(tokenizer, **options)  # type: ignore[arg-type]
    return [*(detokenizer.feed(chunk) for chunk in chunks), detokenizer.finish()]


@given(chunks=st.lists(_IDS, max_size=8), name=st.sampled_from(sorted(_TOKENIZERS)))
def test_any_ids_in_any_split_give_the_decoded_text(chunks: list[list[int]], name: str) -> None:
    tokenizer = _TOKENIZERS[name]
    ids = [token_id for chunk in chunks for token_id in chunk]
    for skip in (True, False):
        streamed = "".join(_stream(tokenizer, chunks, skip_special_tokens=skip))
        assert streamed == tokenizer.decode(ids, skip_special_tokens=skip)


@given(text=st.text(), name=st.sampled_from(sorted(_TOKENIZERS)))
def test_no_text_gives_a_broken_character(text: str, name: str) -> None:
    tokenizer = _TOKENIZERS[name]
    ids = tokenizer.encode(text.replace("\u2581", " "), add_special_tokens=False)
    parts = _stream(tokenizer, [[token_id] for token_id in ids], skip_special_tokens=False)
    assert "".join(parts) == text.replace("\u2581", " ")
    assert all("\ufffd" not in part for part in parts) or "\ufffd" in text


@given(prompt=_IDS, ids=_IDS, name=st.sampled_from(sorted(_TOKENIZERS)))
def test_after_a_prompt_the_text_goes_on(prompt: list[int], ids: list[int], name: str) -> None:
    tokenizer = _TOKENIZERS[name]
    prompt = [*prompt, *tokenizer.encode("a", add_special_tokens=False)]  # a whole character last
    streamed = "".join(_stream(tokenizer, [ids], prompt_ids=prompt))
    assert tokenizer.decode(prompt) + streamed == tokenizer.decode(prompt + ids)


class TestFirstSpace:
    def test_dropped_at_the_start_of_a_text(self, sentencepiece: Tokenizer) -> None:
        ids = sentencepiece.encode("hello hello", add_special_tokens=False)
        assert _stream(sentencepiece, [[i] for i in ids]) == ["hello", " hello", ""]

    def test_kept_after_a_prompt(self, sentencepiece: Tokenizer) -> None:
        ids = sentencepiece.encode("hello", add_special_tokens=False)
        assert _stream(sentencepiece, [ids], prompt_ids=ids)[0] == " hello"

    def test_a_prompt_of_bos_alone_is_no_text(self, sentencepiece: Tokenizer) -> None:
        ids = sentencepiece.encode("hello", add_special_tokens=False)
        assert _stream(sentencepiece, [ids], prompt_ids=[1])[0] == "hello"
        shown = _stream(sentencepiece, [ids], prompt_ids=[1], skip_special_tokens=False)
        assert shown[0] == " hello"


def test_characters_are_held_until_they_are_complete(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("\u4f60\U0001f600")
    parts = _stream(byte_level, [[i] for i in ids])
    assert parts == ["", "", "\u4f60", "", "", "", "\U0001f600", ""]


def test_an_incomplete_end_becomes_one_replacement_character(byte_level: Tokenizer) -> None:
    ids = byte_level.encode("\U0001f600")[:3]
    assert _stream(byte_level, [ids]) == ["", "\ufffd"]
