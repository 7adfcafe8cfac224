"""The answers of /v1/completions, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_frames import AnswerHead, FrameWriter
from ftllm.server.generation import ChoiceResult, Generation, Usage
from ftllm.server.json_text import encode_json
from ftllm.server.logprob_json import completion_logprobs
from ftllm.text.tokenizer import Tokenizer

KIND = "text_completion"


class CompletionAnswer:
    """Writes one text completion in OpenAI's shapes."""

    def __init__(
        self,
        head: AnswerHead,
        tokenizer: Tokenizer,
        *,
        with_logprobs: bool,
        include_usage: bool = False,
    ) -> None:
        self._head = head
        self._tokenizer = tokenizer
        self._with_logprobs = with_logprobs
        self._include_usage = include_usage

    def body(self, choices: Sequence[ChoiceResult], usage: Usage) -> dict[str, object]:
        content = [
            {
                "index": index,
                "text": choice.text,
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return {**self._head.fields(KIND), "choices": content, "usage": usage.body()}

    async def frames(self, generation: Generation) -> AsyncIterator[bytes]:
        """Text, finish reasons, usage; [DONE] is the stream's own."""
        writer = FrameWriter(self._head, KIND, include_usage=self._include_usage)
        while deltas := await generation.next_deltas():
            block = ""
            for delta in deltas:
                logprobs = "null"
                if self._with_logprobs and delta.logprobs:
                    logprobs = encode_json(self._logprobs(delta.logprobs))
                reason = encode_json(delta.finish_reason)
                block += writer.choice(
                    f'{{"index":{delta.index},"text":{encode_json(delta.text)},'
                    f'"logprobs":{logprobs},"finish_reason":{reason}}}'
                )
            yield block.encode()
        if self._include_usage:
            yield writer.usage(generation.usage).encode()

    def _logprobs(self, entries: Sequence[PlacedLogprob]) -> dict[str, object] | None:
        return completion_logprobs(entries, self._tokenizer) if self._with_logprobs else None
