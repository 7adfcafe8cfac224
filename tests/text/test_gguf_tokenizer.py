from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest

from ftllm.errors import CheckpointError, RequestError, UnsupportedModelError
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.tokenizer import Tokenizer
from tests.text.tiny_vocabularies import PREFIX, byte_level_keys, sentencepiece_keys


def _pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token_text(i) for i in tokenizer.encode(text, add_special_tokens=False)]


class TestByteLevel:
    def test_roles(self, byte_level: Tokenizer) -> None:
        assert byte_level.vocab_size == 266
        assert byte_level.bos_token == "<|endoftext|>"
        assert byte_level.eos_token == "<|im_end|>"
        assert byte_level.eos_token_ids == {261, 262}
        assert byte_level.special_ids == {261, 262}
        assert byte_level.chat_template is None

    def test_merges_and_words(self, byte_level: Tokenizer) -> None:
        assert _pieces(byte_level, "hello hello shell") == ["hello", " hello", " ", "s", "hell"]

    def test_special_tokens_in_a_text_are_recognised(self, byte_level: Tokenizer) -> None:
        text = "hello<|im_end|><tool_call>hello<|im_end"
        pieces = _pieces(byte_level, text)
        assert pieces[:4] == ["hello", "<|im_end|>", "<tool_call>", "hello"]
        assert byte_level.decode(byte_level.encode(text)) == "hello<tool_call>hello<|im_end"
        assert byte_level.decode(byte_level.encode(text), skip_special_tokens=False) == text

    def test_unused_tokens_are_not(self, byte_level: Tokenizer) -> None:
        assert len(_pieces(byte_level, "[PAD0]")) == 6

    def test_an_added_token_is_text_even_if_it_looks_like_bytes(
        self, byte_level: Tokenizer
    ) -> None:
        assert _pieces(byte_level, "\u00e9t\u00e9") == ["\u00e9t\u00e9"]
        assert byte_level.token_bytes(264) == "\u00e9t\u00e9".encode()

    def test_bos_only_if_the_file_says_so(self, byte_level: Tokenizer) -> None:
        assert byte_level.encode("hello") == [259]
        both = tokenizer_from_gguf(byte_level_keys(add_bos_token=True, add_eos_token=True))
        assert both.encode("hello") == [261, 259, 262]
        assert both.encode("hello", add_special_tokens=False) == [259]
        assert both.encode("") == [261, 262]

    def test_bos_by_default_where_the_kind_wants_it(self) -> None:
        assert tokenizer_from_gguf(byte_level_keys(pre="llama-bpe")).encode("hello") == [261, 259]
        silent = tokenizer_from_gguf(byte_level_keys(pre="llama-bpe", add_bos_token=False))
        assert silent.encode("hello") == [259]

    def test_parts_of_characters(self, byte_level: Tokenizer) -> None:
        ids = byte_level.encode("\u4f60")
        assert len(ids) == 3
        assert b"".join(map(byte_level.token_bytes, ids)) == "\u4f60".encode()
        assert byte_level.token_text(ids[0]) == "\ufffd"
        assert byte_level.decode(ids[:2]) == "\ufffd"

    def test_ids_outside_the_vocabulary_stand_for_nothing(self, byte_level: Tokenizer) -> None:
        assert byte_level.decode([259, 100_000, 259]) == "hellohello"

    def test_a_surrogate_is_the_clients_error(self, byte_level: Tokenizer) -> None:
        with pytest.raises(RequestError, match=r"character 2 is the unpaired surrogate U\+D800"):
            byte_level.encode("ab\ud800")


class TestSentencePiece:
    def test_roles(self, sentencepiece: Tokenizer) -> None:
        assert sentencepiece.eos_token_ids == {2, 3}  # </s>, and <end_of_turn> by its name
        assert sentencepiece.special_ids == {0, 1, 2, 3}
        assert sentencepiece.bos_token == "<s>"

    def test_bos_is_the_default(self, sentencepiece: Tokenizer) -> None:
        assert sentencepiece.encode("hello")[0] == 1
        assert _pieces(sentencepiece, "hello") == [" hello"]

    def test_a_space_goes_in_front_of_a_text_and_away_again(self, sentencepiece: Tokenizer) -> None:
        assert _pieces(sentencepiece, "hello hello") == [" hello", " hello"]
        for text in ("hello", " hello", "  hello  ", "", " "):
            assert sentencepiece.decode(sentencepiece.encode(text)) == text

    def test_no_space_if_the_file_says_so(self) -> None:
        tokenizer = tokenizer_from_gguf(sentencepiece_keys(add_space_prefix=False))
        assert _pieces(tokenizer, "hello hello") == ["hello", " hello"]
        assert tokenizer.decode(tokenizer.encode(" hello")) == " hello"

    def test_bytes_of_unknown_characters(self, sentencepiece: Tokenizer) -> None:
        ids = sentencepiece.encode("a\u4f60\u5973\n", add_special_tokens=False)
        assert [sentencepiece.token_bytes(i) for i in ids] == [
            b" a",
            "\u4f60".encode(),
            b"\xe5",
            b"\xa5",
            b"\xb3",
            b"\n",
        ]
        assert sentencepiece.decode(ids) == "a\u4f60\u5973\n"

    def test_unknown_without_bytes(self) -> None:
        keys = sentencepiece_keys()
        pieces = [str(p).replace("<0x", "<byte") for p in keys[PREFIX + "tokens"]]  # type: ignore[attr-defined]
        tokenizer = tokenizer_from_gguf({**keys, PREFIX + "tokens": pieces})
        ids = tokenizer.encode("a\u5973\u5973", add_special_tokens=False)
        assert ids[1:] == [0]
        assert tokenizer.decode(ids) == "a"

    def test_user_defined_tokens_come_before_merging(self) -> None:
        tokenizer = tokenizer_from_gguf(sentencepiece_keys(add_space_prefix=False))
        assert _pieces(tokenizer, "ab<tag>ab") == ["ab", "<tag>", "ab"]
        assert _pieces(tokenizer, "a    a") == ["a", "   ", " a"]  # "▁▁▁" in the file
        assert _pieces(tokenizer, "a\u2581\u2581\u2581b") == ["a", "   ", "b"]

    def test_a_byte_written_out_is_text(self, sentencepiece: Tokenizer) -> None:
        text = "<0x0A>"
        assert 14 not in sentencepiece.encode(text)
        assert sentencepiece.decode(sentencepiece.encode(text)) == text

    def test_order_of_merging_is_by_score(self, sentencepiece: Tokenizer) -> None:
        assert _pieces(sentencepiece, "ababab") == [" a", "b", "ab", "ab"]

    def test_order_without_scores_is_by_id(self) -> None:
        keys = sentencepiece_keys()
        del keys[PREFIX + "scores"]
        assert _pieces(tokenizer_from_gguf(keys), "hello") == [" hello"]

    def test_merges_of_the_file_win(self) -> None:
        tokenizer = tokenizer_from_gguf(sentencepiece_keys(merges=["l o"], add_space_prefix=False))
        assert _pieces(tokenizer, "hello") == ["h", "e", "l", "lo"]

    def test_extra_spaces_can_be_removed(self) -> None:
        tokenizer = tokenizer_from_gguf(sentencepiece_keys(remove_extra_whitespaces=True))
        assert tokenizer.decode(tokenizer.encode("  hello  a ")) == "hello a"


class TestEnds:
    def test_turn_tokens_by_key(self) -> None:
        tokenizer = tokenizer_from_gguf(byte_level_keys(eot_token_id=256, eom_token_id=257))
        assert tokenizer.eos_token_ids == {256, 257, 261, 262}

    def test_a_message_end_is_no_end_where_there_are_channels(self) -> None:
        def ends(*names: str) -> frozenset[int]:
            keys = byte_level_keys()
            pieces = list(keys[PREFIX + "tokens"])  # type: ignore[call-overload]
            pieces[: len(names)] = names
            return tokenizer_from_gguf({**keys, PREFIX + "tokens": pieces}).eos_token_ids

        assert ends("<|end|>") == {0, 261, 262}
        assert ends("<|end|>", "<|channel|>", "<|return|>") == {2, 261, 262}

    def test_none_is_written_in_two_ways(self) -> None:
        for none in (-1, 0xFFFFFFFF):
            assert tokenizer_from_gguf(byte_level_keys(bos_token_id=none)).bos_token is None


class TestTemplates:
    def test_the_plain_one(self) -> None:
        keys = {**byte_level_keys(), "tokenizer.chat_template": "plain"}
        assert tokenizer_from_gguf(keys).chat_template == "plain"

    def test_one_for_tools_beside_it(self) -> None:
        keys = {
            **byte_level_keys(),
            "tokenizer.chat_templates": ["tool_use"],
            "tokenizer.chat_template": "plain",
            "tokenizer.chat_template.tool_use": "with tools",
        }
        template = tokenizer_from_gguf(keys).chat_template
        assert template is not None
        assert template.index("with tools") < template.index("plain")


class TestDamage:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"tokens": []}, "tokens is missing or empty"),
            ({"tokens": "abc"}, "tokens must be an array"),
            ({"tokens": [1, 2]}, "array of one type, not int"),
            ({"token_type": [1]}, "token_type has 1 entries for 266 tokens"),
            ({"merges": ["ab"]}, r"merges\[0\] is 'ab'"),
            ({"merges": ["x "]}, r"merges\[0\] is 'x '"),
            ({"merges": ["zz yy"]}, "do not fit together"),
            ({"eos_token_id": 266}, "eos_token_id is 266, but the vocabulary has only 266"),
            ({"eos_token_id": "2"}, "eos_token_id must be a token id"),
            ({"add_bos_token": 1}, "add_bos_token must be true or false"),
            ({"model": 3}, "model must be a string"),
        ],
    )
    def test_each_is_named(self, changes: Mapping[str, object], message: str) -> None:
        keys = {**byte_level_keys(), **{PREFIX + name: value for name, value in changes.items()}}
        with pytest.raises(CheckpointError, match=message):
            tokenizer_from_gguf(keys)

    def test_missing_keys(self) -> None:
        with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.model is missing"):
            tokenizer_from_gguf({})
        keys = byte_level_keys()
        del keys[PREFIX + "merges"]
        with pytest.raises(CheckpointError, match=r"merges is missing"):
            tokenizer_from_gguf(keys)

    def test_other_kinds_are_not_supported(self) -> None:
        with pytest.raises(UnsupportedModelError, match=r"'bert'.*supported: .*gpt2.*llama"):
            tokenizer_from_gguf(byte_level_keys(model="bert"))
        with pytest.raises(UnsupportedModelError, match="'brand-new'"):
            tokenizer_from_gguf(byte_level_keys(pre="brand-new"))


@pytest.mark.parametrize(
    ("name", "seconds", "ends"),
    [
        ("smollm2-135m", 1, {"<|endoftext|>", "<|im_end|>"}),
        ("qwen2.5-coder-0.5b", 2, {"<|endoftext|>", "<|im_end|>"}),
        ("gemma3-270m", 6, {"<eos>", "<end_of_turn>"}),
    ],
)
def test_real_models(
    name: str,
    seconds: float,
    ends: set[str],
    real_metadata: Callable[[str], Mapping[str, object]],
) -> None:
    metadata = real_metadata(name)
    start = time.process_time()
    tokenizer = tokenizer_from_gguf(metadata)
    assert time.process_time() - start < seconds  # twice to ten times what it takes
    assert {tokenizer.token_text(token_id) for token_id in tokenizer.eos_token_ids} == ends
