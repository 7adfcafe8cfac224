from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from ftllm.errors import CheckpointError, UnsupportedModelError
from ftllm.text.hf_tokenizer import load_tokenizer
from ftllm.text.vocabulary import SPACE_MARK, byte_alphabet


def _byte_level() -> tokenizers.Tokenizer:
    """Ids: 0-255 bytes, 256 "he", then 257 <s>, 258 <|im_end|>, 259 <note> (not special)."""
    ids = {piece: byte for byte, piece in byte_alphabet().items()} | {"he": 256}
    backend = tokenizers.Tokenizer(models.BPE(vocab=ids, merges=[("h", "e")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "<|im_end|>"])
    backend.add_tokens([AddedToken("<note>", normalized=False)])
    return backend


def _sentencepiece(*, metaspace: bool) -> tokenizers.Tokenizer:
    """Ids: 0 <unk>, 1 <s>, 2 </s>, 3-258 lone bytes, then "▁" "a" "b" "▁a" "ab"."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [SPACE_MARK, "a", "b", SPACE_MARK + "a", "ab"]
    ids = {piece: place for place, piece in enumerate(pieces)}
    merges = [(SPACE_MARK, "a"), ("a", "b")]
    backend = tokenizers.Tokenizer(
        models.BPE(vocab=ids, merges=merges, unk_token="<unk>", byte_fallback=True)
    )
    if metaspace:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE_MARK), normalizers.Replace(" ", SPACE_MARK)]
        )
        backend.decoder = decoders.Sequence(
            [
                decoders.Replace(SPACE_MARK, " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    backend.add_special_tokens(["<s>", "</s>"])
    return backend


def _folder(path: Path, backend: tokenizers.Tokenizer, **files: object) -> Path:
    backend.save(str(path / "tokenizer.json"))
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return path


class TestByteLevel:
    def test_text_and_back(self, tmp_path: Path) -> None:
        tokenizer = load_tokenizer(_folder(tmp_path, _byte_level()))
        text = "he \u4f60<s><note>he"
        ids = tokenizer.encode(text)
        assert [tokenizer.token_text(i) for i in ids] == [
            "he",
            " ",
            *["\ufffd"] * 3,
            "<s>",
            "<note>",
            "he",
        ]
        assert tokenizer.decode(ids) == "he \u4f60<note>he"
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        assert tokenizer.vocab_size == 260
        assert tokenizer.special_ids == {257, 258}

    def test_roles_from_the_configuration(self, tmp_path: Path) -> None:
        config = {"bos_token": "<s>", "eos_token": {"content": "<|im_end|>", "lstrip": False}}
        tokenizer = load_tokenizer(_folder(tmp_path, _byte_level(), tokenizer_config=config))
        assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<s>", 257)
        assert tokenizer.eos_token == "<|im_end|>"
        assert tokenizer.encode("he") == [256]

    def test_roles_from_the_special_tokens_map(self, tmp_path: Path) -> None:
        names = {"bos_token": "<s>", "additional_special_tokens": ["<note>"]}
        tokenizer = load_tokenizer(_folder(tmp_path, _byte_level(), special_tokens_map=names))
        assert tokenizer.bos_token == "<s>"
        assert 259 in tokenizer.special_ids

    def test_a_token_of_the_vocabulary_may_be_named_special(self, tmp_path: Path) -> None:
        tokenizer = load_tokenizer(
            _folder(tmp_path, _byte_level(), tokenizer_config={"eos_token": "he"})
        )
        assert tokenizer.special_ids == {256, 257, 258}
        assert tokenizer.encode("xhe") == [ord("x"), 256]

    def test_limits_of_the_file_are_lifted(self, tmp_path: Path) -> None:
        backend = _byte_level()
        backend.enable_truncation(4)
        backend.enable_padding(length=8)
        assert len(load_tokenizer(_folder(tmp_path, backend)).encode("x" * 100)) == 100


class TestSentencePiece:
    @pytest.mark.parametrize("metaspace", [True, False])
    def test_text_and_back(self, tmp_path: Path, metaspace: bool) -> None:
        tokenizer = load_tokenizer(_folder(tmp_path, _sentencepiece(metaspace=metaspace)))
        ids = tokenizer.encode("a ab\u4f60")
        assert [tokenizer.token_bytes(i) for i in ids] == [
            b"<s>",
            b" a",
            b" a",
            b"b",
            b"\xe4",
            b"\xbd",
            b"\xa0",
        ]
        assert tokenizer.decode(ids) == "a ab\u4f60"

    def test_bos_as_the_configuration_says(self, tmp_path: Path) -> None:
        for added, expected in ((True, [1, 262]), (False, [262]), (None, [1, 262])):
            config = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": added}
            folder = _folder(tmp_path, _sentencepiece(metaspace=False), tokenizer_config=config)
            assert load_tokenizer(folder).encode("a") == expected
        config["add_eos_token"] = True
        _folder(tmp_path, _sentencepiece(metaspace=False), tokenizer_config=config)
        assert load_tokenizer(tmp_path).encode("a") == [1, 262, 2]
        assert load_tokenizer(tmp_path).encode("a", add_special_tokens=False) == [262]


class TestEnds:
    def test_all_sources_together(self, tmp_path: Path) -> None:
        tokenizer = load_tokenizer(
            _folder(
                tmp_path,
                _byte_level(),
                tokenizer_config={"eos_token": "<|im_end|>"},
                generation_config={"eos_token_id": [1, 2]},
                config={"eos_token_id": 3, "text_config": {"eos_token_id": 4}},
            )
        )
        assert tokenizer.eos_token_ids == {1, 2, 3, 4, 258}

    def test_by_spelling_if_no_file_says(self, tmp_path: Path) -> None:
        assert load_tokenizer(_folder(tmp_path, _byte_level())).eos_token_ids == {258}


class TestTemplates:
    def test_in_the_configuration(self, tmp_path: Path) -> None:
        _folder(tmp_path, _byte_level(), tokenizer_config={"chat_template": "plain"})
        assert load_tokenizer(tmp_path).chat_template == "plain"
        named = [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]
        _folder(tmp_path, _byte_level(), tokenizer_config={"chat_template": named})
        template = load_tokenizer(tmp_path).chat_template
        assert template is not None
        assert "A" in template
        assert "B" in template

    def test_in_files_of_their_own(self, tmp_path: Path) -> None:
        config = {"chat_template": "old"}
        _folder(tmp_path, _byte_level(), tokenizer_config=config, chat_template=config)
        (tmp_path / "chat_template.json").write_text('{"chat_template": "newer"}')
        assert load_tokenizer(tmp_path).chat_template == "newer"
        (tmp_path / "chat_template.jinja").write_text("newest")
        assert load_tokenizer(tmp_path).chat_template == "newest"

    def test_none(self, tmp_path: Path) -> None:
        assert load_tokenizer(_folder(tmp_path, _byte_level())).chat_template is None


class TestDamage:
    def test_no_tokenizer(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"looked for tokenizer\.json, \*\.tiktoken"):
            load_tokenizer(tmp_path)

    def test_not_a_tokenizer(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text("{")
        with pytest.raises(CheckpointError, match=r"tokenizer\.json cannot be read"):
            load_tokenizer(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"), [(b"{", "not valid JSON"), (b"[]", "holds list"), (b"\xff", "read")]
    )
    def test_a_bad_configuration(self, tmp_path: Path, content: bytes, message: str) -> None:
        _folder(tmp_path, _byte_level())
        (tmp_path / "tokenizer_config.json").write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load_tokenizer(tmp_path)

    def test_another_kind(self, tmp_path: Path) -> None:
        backend = _byte_level()
        backend.decoder = decoders.CTC()
        with pytest.raises(UnsupportedModelError, match=r"by CTC.*supported: ByteLevel"):
            load_tokenizer(_folder(tmp_path, backend))


def test_wordpiece(tmp_path: Path) -> None:
    """Ids: 0 [UNK], 1 [CLS], 2 [SEP], then "un" "##want" "##ed" "ship"."""
    pieces = ["[UNK]", "[CLS]", "[SEP]", "un", "##want", "##ed", "ship"]
    ids = {piece: place for place, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab=ids, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    tokenizer = load_tokenizer(_folder(tmp_path, backend))
    assert tokenizer.encode("Unwanted ship?") == [1, 3, 4, 5, 6, 0, 2]
    assert tokenizer.decode([1, 3, 4, 5, 6, 2]) == "unwanted ship"
    assert tokenizer.token_text(4) == "want"
    assert tokenizer.encode_pair("ship", "un") == [1, 6, 2, 2, 3, 2]
