from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ftllm.errors import CheckpointError, UnsupportedModelError
from ftllm.text.hf_tokenizer import load_tokenizer

_TOKENS = [*(bytes([byte]) for byte in range(256)), b"he", b"ll", b"hell", b" hell", b"xyz"]


def _folder(path: Path, **config: object) -> Path:
    lines = [f"{base64.b64encode(t).decode()} {rank}\n" for rank, t in enumerate(_TOKENS)]
    (path / "vocabulary.tiktoken").write_text("".join(lines))
    config = {"tokenizer_class": "QWenTokenizer", **config}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def test_merging_and_whole_words(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(_folder(tmp_path))
    ids = tokenizer.encode("hell hello xyz<|im_end|>")
    assert [tokenizer.token_text(i) for i in ids] == [
        "hell",
        " hell",
        "o",
        " ",
        "x",  # " xyz" is the word, and "xyz" cannot be merged
        "y",
        "z",
        "<|im_end|>",
    ]
    assert tokenizer.encode("xyz") == [260]
    assert tokenizer.decode(ids) == "hell hello xyz"
    assert tokenizer.eos_token_ids == {261, 263}  # <|endoftext|> and <|im_end|>


def test_added_tokens_of_the_configuration(tmp_path: Path) -> None:
    added = {"300": {"content": "[EOS]", "special": True}, "301": {"content": "[BOS]"}}
    folder = _folder(
        tmp_path,
        added_tokens_decoder=added,
        bos_token="[BOS]",
        eos_token="[EOS]",
        add_bos_token=True,
    )
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("he[EOS]") == [301, 256, 300]
    assert tokenizer.vocab_size == 302
    assert tokenizer.decode([256, 280, 300], skip_special_tokens=False) == "he[EOS]"


def test_an_unknown_class_is_not_supported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="'OtherTokenizer'"):
        load_tokenizer(_folder(tmp_path, tokenizer_class="OtherTokenizer"))


@pytest.mark.parametrize(
    ("content", "message"),
    [("aGU= 0\n???? 1\n", "line 2"), ("aGU=\n", "line 1"), ("", "empty")],
)
def test_damage(tmp_path: Path, content: str, message: str) -> None:
    (_folder(tmp_path) / "vocabulary.tiktoken").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_tokenizer(tmp_path)


def test_ids_defined_twice(tmp_path: Path) -> None:
    added = {"5": {"content": "[EOS]"}}
    with pytest.raises(CheckpointError, match="both define the token id 5"):
        load_tokenizer(_folder(tmp_path, added_tokens_decoder=added))
