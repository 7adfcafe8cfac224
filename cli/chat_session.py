"""A conversation with a model: its history, and one answer after the other."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from ftllm.cli.answer_stats import AnswerMeter, AnswerStats, Clock
from ftllm.errors import OptionError
from ftllm.llm import LLM
from ftllm.outputs import TextDelta
from ftllm.sampling_params import SamplingParams


class ChatSession:
    """Chats with a model that has a chat template; has any other continue each text by itself."""

    def __init__(
        self,
        llm: LLM,
        params: SamplingParams,
        *,
        system: str | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        self.chats = llm.loaded.chat_template is not None
        if system is not None and not self.chats:
            raise OptionError(
                f"--system needs a chat template, and {llm.loaded.name} has none; leave it out or"
                " give --chat_template FILE."
            )
        self._llm = llm
        self._params = params
        self._clock = clock
        self._system = [] if system is None else [{"role": "system", "content": system}]
        self._turns: list[dict[str, str]] = []
        self._answers: list[AnswerStats] = []

    @property
    def turns(self) -> int:
        """Messages in the history, the system message left out."""
        return len(self._turns)

    @property
    def last_stats(self) -> AnswerStats | None:
        return self._answers[-1] if self._answers else None

    @property
    def total_output_tokens(self) -> int:
        return sum(answer.output_tokens for answer in self._answers)

    @property
    def max_model_len(self) -> int:
        return self._llm.loaded.max_model_len

    def clear(self) -> None:
        """Forgets the history, not the system message."""
        self._turns.clear()

    def answer(self, text: str) -> Generator[str, None, None]:
        """Yields the answer's text as it comes. Closing the generator stops the answer.

        What was said until then stays in the history; a turn that fails before leaves no trace.
        """
        meter = AnswerMeter(self._clock)
        pieces: list[str] = []
        try:
            with closing(self._stream(text)) as deltas:
                for delta in deltas:
                    meter.count(delta)
                    pieces.append(delta.text)
                    if delta.text:
                        yield delta.text
        finally:
            if pieces:
                self._answers.append(meter.stats())
                self._remember(text, "".join(pieces))

    def _stream(self, text: str) -> Generator[TextDelta, None, None]:
        if not self.chats:
            return self._llm.stream(text, self._params)
        question = {"role": "user", "content": text}
        return self._llm.stream_chat([*self._system, *self._turns, question], self._params)

    def _remember(self, question: str, answer: str) -> None:
        if self.chats:
            self._turns.append({"role": "user", "content": question})
            self._turns.append({"role": "assistant", "content": answer})
