"""The text of one answer as it is generated."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.stop_strings import StopStrings
from ftllm.text.tokenizer import Tokenizer


class TextStream:
    """Detokenizer and stop strings of one request."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        stops: Sequence[str] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
        hidden_ids: frozenset[int] = frozenset(),
        prompt_ids: Sequence[int] = (),
    ) -> None:
        self._detokenizer = IncrementalDetokenizer(
            tokenizer,
            skip_special_tokens=skip_special_tokens,
            hidden_ids=hidden_ids,
            prompt_ids=prompt_ids,
        )
        self._stop_strings = StopStrings(stops, include_in_output=include_stop) if stops else None
        self.stopped = False  # a stop string was found; everything after it is dropped

    @property
    def stop_string(self) -> str | None:
        """The one that was found."""
        return None if self._stop_strings is None else self._stop_strings.found

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that is now safe to emit."""
        return "" if self.stopped else self._safe(self._detokenizer.feed(token_ids))

    def feed_token(self, token_id: int) -> str:
        """As `feed`, of one token."""
        return "" if self.stopped else self._safe(self._detokenizer.feed_token(token_id))

    def finish(self) -> str:
        """The rest of the text, once no more tokens come."""
        text = "" if self.stopped else self._safe(self._detokenizer.finish())
        if self._stop_strings is not None and not self.stopped:
            text += self._stop_strings.finish()
        return text

    def _safe(self, text: str) -> str:
        """`text` up to a stop, without what may become one."""
        if self._stop_strings is not None:
            text, self.stopped = self._stop_strings.feed(text)
        return text
