"""A tokenizer's vocabulary as grammars need it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property

from llguidance import LLTokenizer

from ftllm.text.tokenizer import Tokenizer

_WORD = 32  # bits
_LINE_BREAK = "\n"  # a token of its own, to which nothing is merged


class GrammarVocabulary:
    """Immutable, but for what it computes once. `vocab_size` is the model's, which may be more than
    the tokenizer's: the ids beyond stand for nothing and are never allowed."""

    def __init__(
        self, tokenizer: Tokenizer, *, vocab_size: int, eos_token_ids: frozenset[int]
    ) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = vocab_size
        self.eos_token_ids = frozenset(i for i in eos_token_ids if 0 <= i < vocab_size)
        self.token_bytes = [tokenizer.token_bytes(token_id) for token_id in range(vocab_size)]
        self._special = {
            tokenizer.token_text(token_id): token_id
            for token_id in tokenizer.special_ids | self.eos_token_ids
        }

    @cached_property
    def guidance(self) -> LLTokenizer:
        """llguidance's own form. Costs about half a second for 150,000 tokens."""
        return LLTokenizer(
            _TokenizerFace(self, self._tokenizer.special_ids),  # type: ignore[arg-type]
            n_vocab=self.vocab_size,
            eos_token=sorted(self.eos_token_ids),
        )

    @property
    def row_bytes(self) -> int:
        """Of a mask of all tokens."""
        return -(-self.vocab_size // _WORD) * (_WORD // 8)

    @cached_property
    def everything(self) -> bytes:
        """A mask that allows all tokens."""
        return self._mask_without(frozenset())

    @cached_property
    def all_but_eos(self) -> bytes:
        return self._mask_without(self.eos_token_ids)

    @cached_property
    def only_eos(self) -> bytes:
        return self.mask_of(sorted(self.eos_token_ids))

    def mask_of(self, token_ids: Sequence[int]) -> bytes:
        """A mask that allows these tokens."""
        row = bytearray(self.row_bytes)
        for token_id in token_ids:
            row[token_id >> 3] |= 1 << (token_id & 7)
        return bytes(row)

    def _mask_without(self, token_ids: frozenset[int]) -> bytes:
        row = bytearray(b"\xff" * (self.vocab_size >> 3)).ljust(self.row_bytes, b"\0")
        for token_id in range(self.vocab_size & ~7, self.vocab_size):
            row[token_id >> 3] |= 1 << (token_id & 7)
        for token_id in token_ids:
            row[token_id >> 3] &= ~(1 << (token_id & 7)) & 0xFF
        return bytes(row)

    def special_id(self, text: str) -> int | None:
        """The special token spelled so."""
        return self._special.get(text)

    def encode(self, text: str) -> list[int]:
        """As it is spelled in the middle of an answer: without a space put in front."""
        if not self._tokenizer.drops_first_space:
            return self._tokenizer.encode(text, add_special_tokens=False)
        ids = self._tokenizer.encode(_LINE_BREAK + text, add_special_tokens=False)
        before = b""
        for place, token_id in enumerate(ids, 1):
            before += self._tokenizer.token_bytes(token_id)
            if before.endswith(b"\n"):
                return ids[place:]
        return self._tokenizer.encode(text, add_special_tokens=False)  # merged into one token

    @cached_property
    def _sorted(self) -> list[tuple[bytes, int]]:
        return sorted(zip(self.token_bytes, range(self.vocab_size), strict=True))

    def tokens_that_pass(self, marker: bytes, matched: int) -> Iterator[tuple[int, bytes]]:
        """Tokens that complete `marker` and go on, where its first `matched` bytes are the last of
        the text; each with the bytes beyond the first completion."""
        rest = marker[matched:]
        place = bisect_left(self._sorted, (rest, -1)) if matched else len(self._sorted)
        begun: set[int] = set()
        while place < len(self._sorted) and self._sorted[place][0].startswith(rest):
            token, token_id = self._sorted[place]
            begun.add(token_id)
            if len(token) > len(rest):
                yield token_id, token[len(rest) :]
            place += 1
        for token_id, token in self._tokens_around(marker):
            if token_id not in begun:
                yield token_id, token[token.index(marker) + len(marker) :]

    def _tokens_around(self, marker: bytes) -> Iterator[tuple[int, bytes]]:
        """Tokens that hold all of `marker`, and something after it."""
        if not marker:
            return
        for token_id, token in enumerate(self.token_bytes):
            if len(token) > len(marker) and marker in token and not token.endswith(marker):
                yield token_id, token


class _TokenizerFace:
    """What LLTokenizer asks of a tokenizer."""

    is_tokenizer_wrapper = True  # its sign that these fields are there

    def __init__(self, vocabulary: GrammarVocabulary, special_ids: frozenset[int]) -> None:
        self.eos_token_id = min(vocabulary.eos_token_ids)
        self.bos_token_id = None
        self.tokens = vocabulary.token_bytes
        self.special_token_ids = sorted(
            token_id
            for token_id in special_ids | vocabulary.eos_token_ids
            if token_id < vocabulary.vocab_size
        )
        self._vocabulary = vocabulary

    def __call__(self, text: str | bytes) -> list[int]:
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        return self._vocabulary.encode(text)
