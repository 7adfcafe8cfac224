"""What each token id stands for, in bytes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from enum import Enum

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CONTINUES = "##"  # BERT's mark of a piece that goes on with the word before
SPACE_MARK = "\u2581"  # "▁", SentencePiece's visible space


class Spelling(Enum):
    """How a vocabulary writes bytes as text."""

    BYTE_LEVEL = "byte_level"  # one printable character a byte, the alphabet of GPT-2
    WORDPIECE = "wordpiece"  # UTF-8, words in pieces, those after the first with "##" in front
    SENTENCEPIECE = "sentencepiece"  # UTF-8 with "▁" for a space and "<0x0A>" for a lone byte


def byte_alphabet() -> dict[int, str]:
    """The character that a byte-level vocabulary writes for each byte.

    Printable Latin-1 bytes stand for themselves; the other 68 take the characters from U+0100 on,
    in order (GPT-2's released encoder, 2019).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    alphabet = {byte: chr(byte) for byte in sorted(printable)}
    alphabet.update({byte: chr(0x100 + place) for place, byte in enumerate(others)})
    return alphabet


_BYTE_OF = {character: byte for byte, character in byte_alphabet().items()}


class Vocabulary:
    """The pieces of a tokenizer by id, and the bytes they decode to.

    `pieces[id]` is the piece as the vocabulary spells it, None where the id has no token.
    `literal_ids` are tokens whose piece is plain text in itself (control and added tokens).
    """

    def __init__(
        self, pieces: Sequence[str | None], *, spelling: Spelling, literal_ids: Collection[int]
    ) -> None:
        self._pieces = pieces
        self._spelling = spelling
        self._literal_ids = frozenset(literal_ids)
        self._cache: dict[int, bytes] = {}  # at most one entry a token
        self._texts: dict[int, str | None] = {}  # the same

    @property
    def size(self) -> int:
        """1 + the highest id."""
        return len(self._pieces)

    def piece(self, token_id: int) -> str | None:
        """The piece as the vocabulary spells it; None for an id without a token."""
        return self._pieces[token_id] if 0 <= token_id < len(self._pieces) else None

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes of a token; empty for an id without one (padded embedding rows)."""
        known = self._cache.get(token_id)
        if known is None:
            known = self._decode(token_id)
            if 0 <= token_id < len(self._pieces):
                self._cache[token_id] = known
        return known

    def whole_text(self, token_id: int) -> str | None:
        """The text of a token that is whole characters; None of one that has a part of one."""
        try:
            return self._texts[token_id]
        except KeyError:
            pass
        text: str | None
        try:
            text = self.token_bytes(token_id).decode()
        except UnicodeDecodeError:
            text = None
        if 0 <= token_id < len(self._pieces):
            self._texts[token_id] = text
        return text

    def _decode(self, token_id: int) -> bytes:
        piece = self.piece(token_id)
        if piece is None:
            return b""
        if token_id in self._literal_ids:
            return piece.encode()
        if self._spelling is Spelling.BYTE_LEVEL:
            try:
                return bytes([_BYTE_OF[character] for character in piece])
            except KeyError:  # not spelled in the alphabet, so it is text
                return piece.encode()
        if self._spelling is Spelling.WORDPIECE:
            inner = piece.removeprefix(_CONTINUES)
            return (inner if inner != piece else f" {piece}").encode()
        lone_byte = _BYTE_PIECE.fullmatch(piece)
        if lone_byte:
            return bytes([int(lone_byte[1], 16)])
        return piece.replace(SPACE_MARK, " ").encode()
