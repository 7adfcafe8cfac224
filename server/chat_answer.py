"""The answers of /v1/chat/completions, whole and streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.answer_frames import AnswerHead, FrameWriter
from ftllm.server.generation import Usage
from ftllm.server.json_text import encode_json, encode_string
from ftllm.server.logprob_json import chat_logprobs, prompt_logprobs
from ftllm.server.turn_answer import TurnAnswer, TurnDelta, TurnResult
from ftllm.text.tokenizer import Tokenizer
from ftllm.tool_parsers import ToolCallDelta


class ChatAnswer:
    """Writes one chat answer in OpenAI's shapes; `with_functions` in the older one of calls."""

    def __init__(
        self,
        head: AnswerHead,
        tokenizer: Tokenizer,
        details: AnswerDetails,
        *,
        with_functions: bool = False,
    ) -> None:
        self._head = head
        self._tokenizer = tokenizer
        self._details = details
        self._with_functions = with_functions

    def body(self, choices: Sequence[TurnResult], usage: Usage) -> dict[str, object]:
        content: list[dict[str, object]] = [
            {
                "index": index,
                "message": self._message(choice),
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": self._reason(choice.finish_reason),
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

    async def frames(self, answer: TurnAnswer, *, n: int) -> AsyncIterator[bytes]:
        """Roles, deltas, finish reasons, usage; [DONE] is the stream's own."""
        details = self._details
        writer = FrameWriter(
            self._head, "chat.completion.chunk", include_usage=details.include_usage
        )
        usage = answer.usage if details.continuous_usage else None
        yield self._roles(writer, answer, n=n, usage=usage).encode()
        while deltas := await answer.next_deltas():
            usage = answer.usage if details.continuous_usage else None
            block = ""
            for delta in deltas:
                for choice in self._choices(delta):
                    block += writer.choice(choice, usage=usage)
            yield block.encode()
        if details.include_usage:
            yield writer.usage(answer.usage).encode()

    def _roles(
        self, writer: FrameWriter, answer: TurnAnswer, *, n: int, usage: Usage | None
    ) -> str:
        """One frame for each choice. Content is null where there may be none in the end."""
        content = "null" if answer.may_lack_content else '""'
        role = (
            f'"delta":{{"role":"assistant","content":{content}}},"logprobs":null,'
            '"finish_reason":null}'
        )
        prompt = ""
        if self._details.token_ids:
            prompt = f',"prompt_token_ids":{encode_json(answer.prompt_ids)}'
        return "".join(
            writer.choice(f'{{"index":{i},{role}', fields="" if i else prompt, usage=usage)
            for i in range(n)
        )

    def _choices(self, delta: TurnDelta) -> list[str]:
        """The delta in JSON: what is new, and apart from it the finish reason."""
        ids = f',"token_ids":{encode_json(delta.token_ids)}' if self._details.token_ids else ""
        news = self._news(delta)
        choices = []
        if news or delta.logprobs:
            logprobs = "null"
            if self._details.logprobs and (delta.content or delta.logprobs):
                logprobs = encode_json(self._logprobs(delta.logprobs))
            choices.append(
                f'{{"index":{delta.index},"delta":{{{news}}},'
                f'"logprobs":{logprobs},"finish_reason":null{ids}}}'
            )
            ids = ',"token_ids":[]' if ids else ""
        if delta.finish_reason is not None:
            choices.append(
                f'{{"index":{delta.index},"delta":{{}},"logprobs":null,'
                f'"finish_reason":{encode_json(self._reason(delta.finish_reason))}{ids}}}'
            )
        return choices

    def _news(self, delta: TurnDelta) -> str:
        """The members of OpenAI's delta; thinking under both of its names."""
        if delta.content:
            return f'"content":{encode_string(delta.content)}'
        if delta.reasoning:
            text = encode_string(delta.reasoning)
            return f'"reasoning_content":{text},"reasoning":{text}'
        if delta.tool_calls:
            return self._call_news(delta.tool_calls)
        return '"content":""' if delta.logprobs else ""

    def _call_news(self, calls: Sequence[ToolCallDelta]) -> str:
        if self._with_functions:  # one call at most
            return f'"function_call":{encode_json(_function(calls[0].name, calls[0].arguments))}'
        members = []
        for call in calls:
            head = f'{{"index":{call.index},"function":{{'
            if call.id is not None:  # the first piece
                head = (
                    f'{{"index":{call.index},"id":{encode_json(call.id)},"type":"function",'
                    f'"function":{{"name":{encode_json(call.name)},'
                )
            members.append(f'{head}"arguments":{encode_string(call.arguments)}}}}}')
        return f'"tool_calls":[{",".join(members)}]'

    def _message(self, choice: TurnResult) -> dict[str, object]:
        message: dict[str, object] = {
            "role": "assistant",
            "content": choice.content,
            "refusal": None,
        }
        if choice.reasoning is not None:
            message["reasoning_content"] = choice.reasoning
            message["reasoning"] = choice.reasoning
        if choice.tool_calls and self._with_functions:
            call = choice.tool_calls[0]
            message["function_call"] = _function(call.name, call.arguments)
        elif choice.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": _function(call.name, call.arguments),
                }
                for call in choice.tool_calls
            ]
        return message

    def _reason(self, reason: str) -> str:
        return "function_call" if self._with_functions and reason == "tool_calls" else reason

    def _logprobs(self, entries: Sequence[PlacedLogprob]) -> dict[str, object] | None:
        if not self._details.logprobs:
            return None
        return chat_logprobs(entries, self._tokenizer, as_ids=self._details.tokens_as_ids)


def _function(name: str | None, arguments: str) -> dict[str, object]:
    """In a stream the name comes once."""
    return {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
