"""The answers of /v1/completions, whole and streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.answer_frames import AnswerHead, FrameWriter
from ftllm.server.choice_stream import ChoiceDelta
from ftllm.server.generation import ChoiceResult, Generation, Usage
from ftllm.server.json_text import INLINE_ENTRIES, encode_json
from ftllm.server.logprob_json import completion_logprobs, prompt_logprobs
from ftllm.text.tokenizer import Tokenizer

KIND = "text_completion"


class CompletionAnswer:
    """Writes one text completion in OpenAI's shapes, with vLLM's further fields where asked for."""

    def __init__(self, head: AnswerHead, tokenizer: Tokenizer, details: AnswerDetails) -> None:
        self._head = head
        self._tokenizer = tokenizer
        self._details = details

    def body(self, choices: Sequence[ChoiceResult], usage: Usage) -> dict[str, object]:
        content = [self._choice(index, choice) for index, choice in enumerate(choices)]
        return {**self._head.fields(KIND), "choices": content, "usage": usage.body()}

    async def frames(self, generation: Generation) -> AsyncIterator[bytes]:
        """Text, finish reasons, usage; [DONE] is the stream's own."""
        details = self._details
        writer = FrameWriter(self._head, KIND, include_usage=details.include_usage)
        prompts = dict(enumerate(generation.prompt_ids)) if details.token_ids else {}
        while deltas := await generation.next_deltas():
            usage = generation.usage if details.continuous_usage else None
            write = partial(self._block, writer, deltas, prompts, usage)
            if sum(len(delta.logprobs) for delta in deltas) > INLINE_ENTRIES:  # an echo
                yield await asyncio.to_thread(write)
            else:
                yield write()
        if details.include_usage:
            yield writer.usage(generation.usage).encode()

    def _block(
        self,
        writer: FrameWriter,
        deltas: Sequence[ChoiceDelta],
        prompts: dict[int, Sequence[int]],
        usage: Usage | None,
    ) -> bytes:
        """Frames of `deltas`. `prompts`: token ids of prompts that are still to be told."""
        block = ""
        for delta in deltas:
            more = ""
            if self._details.token_ids:
                if (prompt_ids := prompts.pop(delta.index, None)) is not None:
                    more = f',"prompt_token_ids":{encode_json(prompt_ids)}'
                more += f',"token_ids":{encode_json(delta.token_ids)}'
            block += writer.choice(self._delta(delta, more), usage=usage)
        return block.encode()

    def _choice(self, index: int, choice: ChoiceResult) -> dict[str, object]:
        body: dict[str, object] = {
            "index": index,
            "text": choice.text,
            "logprobs": self._logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }
        details = self._details
        if details.token_ids:
            body["prompt_token_ids"] = choice.prompt_ids
            body["token_ids"] = choice.token_ids
        if details.prompt_logprobs is not None:
            entries = choice.prompt_logprobs or ()
            top = details.prompt_logprobs
            body["prompt_logprobs"] = prompt_logprobs(entries, self._tokenizer, top=top)
        return body

    def _delta(self, delta: ChoiceDelta, more: str) -> str:
        logprobs = "null"
        if self._details.logprobs and delta.logprobs:
            logprobs = encode_json(self._logprobs(delta.logprobs))
        return (
            f'{{"index":{delta.index},"text":{encode_json(delta.text)},"logprobs":{logprobs},'
            f'"finish_reason":{encode_json(delta.finish_reason)}{more}}}'
        )

    def _logprobs(self, entries: Sequence[PlacedLogprob]) -> dict[str, object] | None:
        if not self._details.logprobs:
            return None
        return completion_logprobs(entries, self._tokenizer, as_ids=self._details.tokens_as_ids)
