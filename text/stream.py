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
        self._stop_strings = StopStrings(stops, include_in_output=include_stop)
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """A stop string was found; everything after it is dropped."""
        return self._stopped

    @property
    def stop_string(self) -> str | None:
        """The one that was found."""
        return self._stop_strings.found

    def feed(self, token_ids: Sequence[int]) -> str:
        """The text that is now safe to emit."""
        if self._stopped:
            return ""
        text, self._stopped = self._stop_strings.feed(self._detokenizer.feed(token_ids))
        return text

    def finish(self) -> str:
        """The rest of the text, once no more tokens come."""
        if self._stopped:
            return ""
        text, self._stopped = self._stop_strings.feed(self._detokenizer.finish())
        return text if self._stopped else text + self._stop_strings.finish()
