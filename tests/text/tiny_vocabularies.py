"""Vocabularies of a few hundred tokens, as GGUF metadata."""

from __future__ import annotations

from ftllm.text.gguf_vocabulary import TokenKind
from ftllm.text.vocabulary import SPACE_MARK, byte_alphabet

PREFIX = "tokenizer.ggml."


def byte_level_keys(**changes: object) -> dict[str, object]:
    """All bytes, a few merges, two control tokens and one user-defined token.

    Ids: 0-255 bytes, 256-260 "he" "ll" "hell" "hello" "Ġhello", 261-265 the named tokens below.
    """
    merges = ["h e", "l l", "he ll", "hell o", "Ġ hello"]
    pieces = [*byte_alphabet().values(), *(merge.replace(" ", "") for merge in merges)]
    named = [
        ("<|endoftext|>", TokenKind.CONTROL),
        ("<|im_end|>", TokenKind.CONTROL),
        ("<tool_call>", TokenKind.USER_DEFINED),
        ("\u00e9t\u00e9", TokenKind.USER_DEFINED),  # spelled like bytes, but text
        ("[PAD0]", TokenKind.UNUSED),
    ]
    kinds = [TokenKind.NORMAL] * len(pieces) + [kind for _, kind in named]
    pieces += [text for text, _ in named]
    return {
        PREFIX + "model": "gpt2",
        PREFIX + "pre": "gpt-2",
        PREFIX + "tokens": pieces,
        PREFIX + "token_type": [int(kind) for kind in kinds],
        PREFIX + "merges": merges,
        PREFIX + "bos_token_id": pieces.index("<|endoftext|>"),
        PREFIX + "eos_token_id": pieces.index("<|im_end|>"),
        **{PREFIX + name: value for name, value in changes.items()},
    }


def sentencepiece_keys(**changes: object) -> dict[str, object]:
    """Letters and "▁", some longer pieces by score, all lone bytes, three control tokens."""
    control = ["<unk>", "<s>", "</s>", "<end_of_turn>"]
    user_defined = ["<tag>", SPACE_MARK * 3]
    lone_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    m = SPACE_MARK
    merged = ["lo", "he", "llo", "hello", f"{m}hello", f"{m}a", "ab", "aba", "ababa"]
    letters = [m, *"abcdefghijklmnopqrstuvwxyz", "\u4f60"]
    pieces = [*control, *lone_bytes, *user_defined, *merged, *letters]
    kinds = (
        [TokenKind.UNKNOWN]
        + [TokenKind.CONTROL] * 3
        + [TokenKind.BYTE] * 256
        + [TokenKind.USER_DEFINED] * 2
        + [TokenKind.NORMAL] * (len(merged) + len(letters))
    )
    first = len(pieces) - len(merged) - len(letters)
    scores = [0.0] * first + [-float(rank) for rank in range(len(pieces) - first)]
    return {
        PREFIX + "model": "llama",
        PREFIX + "tokens": pieces,
        PREFIX + "token_type": [int(kind) for kind in kinds],
        PREFIX + "scores": scores,
        PREFIX + "bos_token_id": 1,
        PREFIX + "eos_token_id": 2,
        PREFIX + "unknown_token_id": 0,
        **{PREFIX + name: value for name, value in changes.items()},
    }
