"""Turns generated tokens into text piece by piece."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from ftllm.text.tokenizer import Tokenizer


class IncrementalDetokenizer:
    """Emits text as soon as its characters are complete; O(1) a token.

    All that `feed` and `finish` return, joined, equals `Tokenizer.decode` of all ids fed but the
    `hidden_ids`. With `prompt_ids` the text continues that prompt, so that the first space counts.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        skip_special_tokens: bool = True,
        hidden_ids: frozenset[int] = frozenset(),
        prompt_ids: Sequence[int] = (),
    ) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._whole_text = tokenizer.whole_text
        self._hidden = tokenizer.special_ids | hidden_ids if skip_special_tokens else hidden_ids
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = tokenizer.drops_first_space and not any(
            tokenizer.visible_bytes(prompt_ids, skip_special_tokens=skip_special_tokens)
        )
        self._plain = not self._at_start  # a token of whole characters is its text

    def feed(self, token_ids: Sequence[int]) -> str:
        """The characters that `token_ids` complete."""
        return "".join([self.feed_token(token_id) for token_id in token_ids])

    def feed_token(self, token_id: int) -> str:
        """The characters that one token completes."""
        if token_id in self._hidden:
            return ""
        if self._plain and (text := self._whole_text(token_id)) is not None:
            return text
        return self._decode(self._token_bytes(token_id))

    def _decode(self, data: bytes) -> str:
        if self._at_start and data:
            self._at_start = False
            data = data.removeprefix(b" ")
        text = self._utf8.decode(data)
        self._plain = not self._at_start and not self._utf8.getstate()[0]
        return text

    def finish(self) -> str:
        """The end: an incomplete character becomes U+FFFD."""
        return self._utf8.decode(b"", True)
