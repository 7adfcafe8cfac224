"""From messages or text to token ids, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from ftllm.errors import ContextLengthError, RequestError
from ftllm.server.model import ServedModel
from ftllm.server.schemas.chat import ChatMessage
from ftllm.server.schemas.completions import PromptInput
from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.tokenizer import Tokenizer

# Below this many characters (or token ids) the work takes about a millisecond, less than it is
# worth to leave the event loop for.
INLINE_SIZE = 4096
MESSAGE_SIZE = 32  # what an empty message weighs beside a character

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class EchoedPrompt:
    """A prompt as it is repeated in the answer: `offsets[i]` is where token i begins in `text`."""

    text: str
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    echo: EchoedPrompt | None = None


class PromptPreparer:
    """Renders and tokenizes. Long inputs go to a few threads of their own."""

    def __init__(self, model: ServedModel, *, threads: int) -> None:
        self._model = model
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ftllm-text")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def chat(
        self, messages: Sequence[ChatMessage], *, variables: Mapping[str, object]
    ) -> Prompt:
        """Raises `RequestError` when the model has no template, the template refuses the messages
        or the result does not fit the context."""
        template = self._model.chat_template
        if template is None:
            raise RequestError(
                f"The model {self._model.name!r} has no chat template, so it cannot chat. Use"
                " /v1/completions, or start the server with a chat template.",
                param="messages",
                code="no_chat_template",
            )
        turns = [_template_turn(message) for message in messages]

        def render() -> Prompt:
            text = template.render(turns, add_generation_prompt=True, variables=variables)
            # The template writes the special tokens itself.
            ids = self._model.tokenizer.encode(text, add_special_tokens=False)
            return self._checked(ids, param="messages")

        size = sum(MESSAGE_SIZE + len(message.content or "") for message in messages)
        return await self.run(render, size=size)

    async def completions(self, inputs: Sequence[PromptInput], *, echo: bool) -> list[Prompt]:
        """One prompt per input. Raises `RequestError` for an empty or over-long one."""

        def encode() -> list[Prompt]:
            return [self._completion(item, echo=echo) for item in inputs]

        return await self.run(encode, size=sum(len(item) for item in inputs))

    async def run(self, work: Callable[[], Result], *, size: int) -> Result:
        """`work`, beside the event loop when `size` (about characters) is worth it."""
        if size <= INLINE_SIZE:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _completion(self, item: PromptInput, *, echo: bool) -> Prompt:
        tokenizer = self._model.tokenizer
        if isinstance(item, str):
            ids = tokenizer.encode(item)
        else:
            ids = item
            limit = tokenizer.vocab_size
            wrong = next((token_id for token_id in ids if not 0 <= token_id < limit), None)
            if wrong is not None:
                raise RequestError(
                    f"prompt holds the token id {wrong}; ids go from 0 to {limit - 1}.",
                    param="prompt",
                )
        prompt = self._checked(ids, param="prompt")
        if not echo:
            return prompt
        return Prompt(prompt.ids, _echo(tokenizer, ids, item if isinstance(item, str) else None))

    def _checked(self, ids: Sequence[int], *, param: str) -> Prompt:
        limit = self._model.max_model_len
        if not ids:
            raise RequestError(
                f"{param} gives an empty prompt; the model needs at least one token to continue.",
                param=param,
                code="empty_prompt",
            )
        if len(ids) >= limit:
            raise ContextLengthError(
                f"This model's maximum context length is {limit} tokens, but the prompt has"
                f" {len(ids)} tokens, which leaves no room for an answer. Shorten the prompt.",
                param=param,
            )
        return Prompt(tuple(ids))


def _template_turn(message: ChatMessage) -> dict[str, object]:
    """A message as templates expect it. They know `system`, OpenAI's older name of `developer`."""
    role = "system" if message.role == "developer" else message.role
    turn: dict[str, object] = {"role": role, "content": message.content or ""}
    if message.name is not None:
        turn["name"] = message.name
    return turn


def _echo(tokenizer: Tokenizer, ids: Sequence[int], text: str | None) -> EchoedPrompt:
    """Places each token in the prompt's text. Special tokens that the tokenizer put in front of
    `text` have no place in it: their offset is 0."""
    detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=False)
    pieces: list[str] = []
    offsets: list[int] = []
    length = 0
    for token_id in ids:
        offsets.append(length)
        pieces.append(detokenizer.feed([token_id]))
        length += len(pieces[-1])
    spelled = "".join(pieces) + detokenizer.finish()
    if text is None:
        return EchoedPrompt(spelled, tuple(offsets))
    shift = max(0, spelled.find(text))
    return EchoedPrompt(text, tuple(min(max(0, at - shift), len(text)) for at in offsets))
