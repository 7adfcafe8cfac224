"""The answers of /v1/chat/completions, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.answer_frames import AnswerHead, FrameWriter
from ftllm.server.generation import ChoiceResult, Generation, Usage
from ftllm.server.json_text import encode_json
from ftllm.server.logprob_json import chat_logprobs, prompt_logprobs
from ftllm.text.tokenizer import Tokenizer


class ChatAnswer:
    """Writes one chat answer in OpenAI's shapes."""

    def __init__(self, head: AnswerHead, tokenizer: Tokenizer, details: AnswerDetails) -> None:
        self._head = head
        self._tokenizer = tokenizer
        self._details = details

    def body(self, choices: Sequence[ChoiceResult], usage: Usage) -> dict[str, object]:
        content: list[dict[str, object]] = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        fields = self._head.fields("chat.completion")
        body = {**fields, "choices": content, "usage": usage.body()}
        details = self._details
        if details.token_ids:
            body["prompt_token_ids"] = choices[0].prompt_ids
            for choice_body, choice in zip(content, choices, strict=True):
                choice_body["token_ids"] = choice.token_ids
        if details.prompt_logprobs is not None:
            entries = choices[0].prompt_logprobs or ()
            top = details.prompt_logprobs
            body["prompt_logprobs"] = prompt_logprobs(entries, self._tokenizer, top=top)
        return body

    async def frames(self, generation: Generation, *, n: int) -> AsyncIterator[bytes]:
        """Roles, text, finish reasons, usage; [DONE] is the stream's own."""
        details = self._details
        writer = FrameWriter(
            self._head, "chat.completion.chunk", include_usage=details.include_usage
        )
        role = '"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        usage = generation.usage if details.continuous_usage else None
        prompt = ""
        if details.token_ids:
            prompt = f',"prompt_token_ids":{encode_json(generation.prompt_ids[0])}'
        yield "".join(
            writer.choice(f'{{"index":{i},{role}', fields="" if i else prompt, usage=usage)
            for i in range(n)
        ).encode()
        while deltas := await generation.next_deltas():
            usage = generation.usage if details.continuous_usage else None
            block = ""
            for delta in deltas:
                ids = f',"token_ids":{encode_json(delta.token_ids)}' if details.token_ids else ""
                if delta.text or delta.logprobs:
                    logprobs = "null"
                    if details.logprobs:
                        logprobs = encode_json(self._logprobs(delta.logprobs))
                    block += writer.choice(
                        f'{{"index":{delta.index},"delta":{{"content":{encode_json(delta.text)}}},'
                        f'"logprobs":{logprobs},"finish_reason":null{ids}}}',
                        usage=usage,
                    )
                    ids = ',"token_ids":[]' if ids else ""
                if delta.finish_reason is not None:
                    block += writer.choice(
                        f'{{"index":{delta.index},"delta":{{}},"logprobs":null,'
                        f'"finish_reason":{encode_json(delta.finish_reason)}{ids}}}',
                        usage=usage,
                    )
            yield block.encode()
        if details.include_usage:
            yield writer.usage(generation.usage).encode()

    def _logprobs(self, entries: Sequence[PlacedLogprob]) -> dict[str, object] | None:
        if not self._details.logprobs:
            return None
        return chat_logprobs(entries, self._tokenizer, as_ids=self._details.tokens_as_ids)
