"""The answers of /v1/chat/completions, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_frames import AnswerHead, FrameWriter
from ftllm.server.generation import ChoiceResult, Generation, Usage
from ftllm.server.json_text import encode_json
from ftllm.server.logprob_json import chat_logprobs
from ftllm.text.tokenizer import Tokenizer


class ChatAnswer:
    """Writes one chat answer in OpenAI's shapes."""

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
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        fields = self._head.fields("chat.completion")
        return {**fields, "choices": content, "usage": usage.body()}

    async def frames(self, generation: Generation, *, n: int) -> AsyncIterator[bytes]:
        """Roles, text, finish reasons, usage; [DONE] is the stream's own."""
        writer = FrameWriter(self._head, "chat.completion.chunk", include_usage=self._include_usage)
        role = '"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        yield "".join(writer.choice(f'{{"index":{i},{role}') for i in range(n)).encode()
        while deltas := await generation.next_deltas():
            block = ""
            for delta in deltas:
                if delta.text or delta.logprobs:
                    logprobs = "null"
                    if self._with_logprobs:
                        logprobs = encode_json(self._logprobs(delta.logprobs))
                    block += writer.choice(
                        f'{{"index":{delta.index},"delta":{{"content":{encode_json(delta.text)}}},'
                        f'"logprobs":{logprobs},"finish_reason":null}}'
                    )
                if delta.finish_reason is not None:
                    block += writer.choice(
                        f'{{"index":{delta.index},"delta":{{}},"logprobs":null,'
                        f'"finish_reason":{encode_json(delta.finish_reason)}}}'
                    )
            yield block.encode()
        if self._include_usage:
            yield writer.usage(generation.usage).encode()

    def _logprobs(self, entries: Sequence[PlacedLogprob]) -> dict[str, object] | None:
        return chat_logprobs(entries, self._tokenizer) if self._with_logprobs else None
