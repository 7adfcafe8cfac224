"""Reads the `tokenizer.*` keys of a GGUF file and checks that they fit together.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, section "Tokenizer".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ftllm.errors import CheckpointError

_PREFIX = "tokenizer.ggml."
_TEMPLATE = "tokenizer.chat_template"


class TokenKind(IntEnum):
    """Values of tokenizer.ggml.token_type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens by id: their pieces, kinds and, for SentencePiece, scores (else None)."""

    pieces: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] | None

    def ids_of(self, *kinds: TokenKind) -> list[int]:
        return [token_id for token_id, kind in enumerate(self.kinds) if kind in kinds]

    def best_first(self) -> list[str]:
        """The normal pieces by falling score; by rising id where scores are equal or missing."""
        ids = self.ids_of(TokenKind.NORMAL)
        if self.scores is not None:
            ids.sort(key=self.scores.__getitem__, reverse=True)  # stable, also when reversed
        return [self.pieces[token_id] for token_id in ids]


class GgufTokenizerKeys:
    """Typed access to the `tokenizer.*` keys. Raises `CheckpointError` for what does not fit."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        self._metadata = metadata

    def text(self, name: str, *, default: str | None = None) -> str:
        value = self._metadata.get(_PREFIX + name, default)
        if value is None:
            raise CheckpointError(
                f"{_PREFIX}{name} is missing: the GGUF file carries no tokenizer; "
                "use a file that does, or give the original model folder"
            )
        if not isinstance(value, str):
            raise _wrong_type(name, "a string", value)
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._metadata.get(_PREFIX + name, default)
        if not isinstance(value, bool):
            raise _wrong_type(name, "true or false", value)
        return value

    def token_id(self, name: str, table: TokenTable) -> int | None:
        value = self._metadata.get(_PREFIX + name)
        if value is None:
            return None
        if not isinstance(value, int):
            raise _wrong_type(name, "a token id", value)
        if value in (-1, 0xFFFFFFFF):  # how converters write "none"
            return None
        if not 0 <= value < len(table.pieces):
            raise CheckpointError(
                f"{_PREFIX}{name} is {value}, but the vocabulary has only {len(table.pieces)} "
                "tokens; the file is damaged, download it again"
            )
        return value

    def tokens(self) -> TokenTable:
        pieces = self._list("tokens", str)
        if not pieces:
            raise CheckpointError(f"{_PREFIX}tokens is missing or empty; the file is damaged")
        kinds = self._list("token_type", int) or [TokenKind.NORMAL] * len(pieces)
        scores = self._list("scores", (int, float)) or None
        for name, values in (("token_type", kinds), ("scores", scores)):
            if values is not None and len(values) != len(pieces):
                raise CheckpointError(
                    f"{_PREFIX}{name} has {len(values)} entries for {len(pieces)} tokens; "
                    "the file is damaged, download it again"
                )
        return TokenTable(pieces, kinds, scores)

    def merges(self) -> list[tuple[str, str]] | None:
        """The merge rules, first to be merged first; None when the file has none."""
        if _PREFIX + "merges" not in self._metadata:
            return None
        merges = []
        for place, merge in enumerate(self._list("merges", str)):
            cut = merge.find(" ", 1)  # the left part may itself be a space
            if not 0 < cut < len(merge) - 1:
                raise CheckpointError(
                    f"{_PREFIX}merges[{place}] is {merge!r}, not two pieces with a space between; "
                    "the file is damaged, download it again"
                )
            merges.append((merge[:cut], merge[cut + 1 :]))
        return merges

    def character_map(self) -> bytes:
        """SentencePiece's compiled normalization table; empty when there is none."""
        value = self._metadata.get(_PREFIX + "precompiled_charsmap")
        if value is None:
            return b""
        if isinstance(value, bytes | bytearray):
            return bytes(value)
        return bytes(byte & 0xFF for byte in self._list("precompiled_charsmap", int))

    def templates(self) -> dict[str, str]:
        """Chat templates by name; "default" is the unnamed one."""
        found = {}
        for key, value in self._metadata.items():
            if not isinstance(value, str) or not value:
                continue
            if key == _TEMPLATE:
                found["default"] = value
            elif key.startswith(_TEMPLATE + "."):
                found[key.removeprefix(_TEMPLATE + ".")] = value
        return found

    def _list(self, name: str, of: type | tuple[type, ...]) -> list:  # type: ignore[type-arg]
        value = self._metadata.get(_PREFIX + name, ())
        items = value.tolist() if hasattr(value, "tolist") else value
        if not isinstance(items, list | tuple):
            raise _wrong_type(name, "an array", value)
        wrong = next((item for item in items if not isinstance(item, of)), None)
        if wrong is not None:
            raise _wrong_type(name, "an array of one type", wrong)
        return list(items)


def _wrong_type(name: str, wanted: str, value: object) -> CheckpointError:
    return CheckpointError(
        f"{_PREFIX}{name} must be {wanted}, not {type(value).__name__} ({str(value)[:40]!r}); "
        "the file is damaged, download it again"
    )
