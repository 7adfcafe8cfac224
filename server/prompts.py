"""From messages or text to token ids, without holding up the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from ftllm.errors import ContextLengthError, RequestError
from ftllm.server.conversation import FunctionTool, Message
from ftllm.server.model import ServedModel
from ftllm.server.schemas.completions import PromptInput
from ftllm.text.bad_words import bad_word_ids
from ftllm.text.detokenizer import IncrementalDetokenizer
from ftllm.text.fill_in_middle import find_fill_in_middle
from ftllm.text.tokenizer import Tokenizer

# Below this many characters (or token ids) the work takes about a millisecond, less than it is
# worth to leave the event loop for.
INLINE_SIZE = 4096
MESSAGE_SIZE = 32  # what an empty message weighs beside a character
TOOL_SIZE = 512  # and a tool
TAIL_SIZE = 256  # characters of a rendered prompt that are kept
BAD_WORD_SIZE = 64  # and a word that is encoded by itself

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
    tail: str = ""  # how rendered messages end, which tells whether the model is to think


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """How a prompt is shortened that has more than `tokens`."""

    tokens: int
    keeps_end: bool = True  # else its beginning

    def cut(self, ids: Sequence[int], *, others: int = 0) -> Sequence[int]:
        """What is kept where `others` more tokens, which must stay, are put around."""
        kept = max(0, self.tokens - others)
        if len(ids) <= kept:
            return ids
        return ids[len(ids) - kept :] if self.keeps_end else ids[:kept]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """How messages become a prompt."""

    variables: Mapping[str, object] = field(default_factory=dict)  # further names for the template
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False  # beside those that the template writes
    truncation: Truncation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """How text becomes a prompt."""

    echo: bool = False
    add_special_tokens: bool = True  # around texts; token ids are taken as they are
    suffix: str = ""  # text that follows what is to be generated
    truncation: Truncation | None = None


class PromptPreparer:
    """Renders and tokenizes. Long inputs go to a few threads of their own."""

    def __init__(self, model: ServedModel, *, threads: int) -> None:
        self._model = model
        self.fill_in_middle = find_fill_in_middle(model.tokenizer)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ftllm-text")

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def chat(
        self, messages: Sequence[Message], options: ChatOptions, *, tools: Sequence[FunctionTool]
    ) -> Prompt:
        """Raises `RequestError` when the model has no template, the template refuses the messages
        or the result does not fit the context."""
        rendered = await self.rendered_chat(messages, options, tools=tools)
        ids: Sequence[int] = rendered.ids
        if options.truncation is not None:
            ids = options.truncation.cut(ids)
        return replace(self._checked(ids, param="messages"), tail=rendered.tail)

    async def rendered_chat(
        self,
        messages: Sequence[Message],
        options: ChatOptions,
        *,
        tools: Sequence[FunctionTool],
    ) -> Prompt:
        """The messages as a prompt, however long it is."""
        template = self._model.chat_template
        if template is None:
            raise RequestError(
                f"The model {self._model.name!r} has no chat template, so it cannot chat. Use"
                " /v1/completions, or start the server with a chat template.",
                param="messages",
                code="no_chat_template",
            )
        turns = [message.template_form() for message in messages]
        offered = [tool.template_form() for tool in tools]

        def render() -> Prompt:
            text = template.render(
                turns,
                tools=offered,
                add_generation_prompt=options.add_generation_prompt,
                continue_final_message=options.continue_final_message,
                variables=options.variables,
            )
            # The template writes the special tokens itself.
            ids = self._model.tokenizer.encode(text, add_special_tokens=options.add_special_tokens)
            return Prompt(tuple(ids), tail=text[-TAIL_SIZE:])

        size = sum(MESSAGE_SIZE + message.size for message in messages) + TOOL_SIZE * len(tools)
        return await self.run(render, size=size)

    async def completions(
        self, inputs: Sequence[PromptInput], options: TextOptions
    ) -> list[Prompt]:
        """One prompt per input. Raises `RequestError` for an empty or over-long one."""

        def encode() -> list[Prompt]:
            return [self._completion(item, options) for item in inputs]

        size = sum(len(item) for item in inputs) + len(options.suffix) * len(inputs)
        return await self.run(encode, size=size)

    async def text_ids(self, text: str, *, add_special_tokens: bool) -> Sequence[int]:
        """The token ids of a text, however many these are."""

        def encode() -> Sequence[int]:
            return self._model.tokenizer.encode(text, add_special_tokens=add_special_tokens)

        return await self.run(encode, size=len(text))

    async def text_of(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens included. Raises `RequestError` for a wrong id."""

        def decode() -> str:
            self._check_ids(ids, param="tokens")
            return self._model.tokenizer.decode(ids, skip_special_tokens=False)

        return await self.run(decode, size=len(ids))

    async def bad_words(self, words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """The token sequences that spell them. Raises `RequestError` for a blank one."""

        def encode() -> tuple[tuple[int, ...], ...]:
            return bad_word_ids(self._model.tokenizer, words)

        return await self.run(encode, size=sum(BAD_WORD_SIZE + len(word) for word in words))

    async def run(self, work: Callable[[], Result], *, size: int) -> Result:
        """`work`, beside the event loop when `size` (about characters) is worth it."""
        if size <= INLINE_SIZE:
            return work()
        context = copy_context()  # so that lines of the log know their request
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(context.run, work))

    def _completion(self, item: PromptInput, options: TextOptions) -> Prompt:
        tokenizer = self._model.tokenizer
        text: str | None = None
        ids: Sequence[int]
        if isinstance(item, str):
            text, ids = item, tokenizer.encode(item, add_special_tokens=False)
        else:
            self._check_ids(item, param="prompt")
            ids = item
        if options.suffix:
            ids = self._around_middle(ids, options.suffix)
        surrounds = text is not None and options.add_special_tokens
        if options.truncation is not None:
            others = len(tokenizer.surround(())) if surrounds else 0
            kept = options.truncation.cut(ids, others=others)
            if text is not None and len(kept) < len(ids):
                text = tokenizer.decode(kept, skip_special_tokens=False)
            ids = kept
        if surrounds:
            ids = tokenizer.surround(ids)
        prompt = self._checked(ids, param="prompt")
        return Prompt(prompt.ids, _echo(tokenizer, ids, text)) if options.echo else prompt

    def _check_ids(self, ids: Sequence[int], *, param: str) -> None:
        limit = self._model.tokenizer.vocab_size
        wrong = next((token_id for token_id in ids if not 0 <= token_id < limit), None)
        if wrong is not None:
            raise RequestError(
                f"{param} holds the token id {wrong}; ids go from 0 to {limit - 1}.",
                param=param,
            )

    def _around_middle(self, prefix: Sequence[int], suffix: str) -> list[int]:
        if self.fill_in_middle is None:
            raise RequestError(
                f"suffix: the vocabulary of {self._model.name!r} has no fill-in-the-middle tokens,"
                " so this model cannot write what comes before a suffix. Leave suffix out, or use"
                " a code model that has them.",
                param="suffix",
                code="unsupported_value",
            )
        return self.fill_in_middle.prompt(self._model.tokenizer, prefix, suffix)

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
