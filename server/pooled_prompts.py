"""From texts that are to be embedded or scored to token ids."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.errors import ContextLengthError, RequestError
from ftllm.server.model import ServedModel
from ftllm.server.prompts import MESSAGE_SIZE, Prompt, PromptPreparer
from ftllm.server.schemas.completions import PromptInput

PooledInput = PromptInput | tuple[str, str]
"""A text, token ids, or two texts that the model reads as one sequence."""


class PooledPrompts:
    """One prompt per text, or pair of texts, that nothing is generated after."""

    def __init__(self, model: ServedModel, preparer: PromptPreparer) -> None:
        self._model = model
        self._preparer = preparer

    async def prepare(
        self,
        inputs: Sequence[PooledInput],
        *,
        param: str,
        add_special_tokens: bool = True,
        truncate: int | None = None,
    ) -> list[Prompt]:
        """`truncate` cuts the end of longer texts, -1 at the end of the context. Raises
        `RequestError` for a text that is empty, wrong or too long, naming `param`."""
        limit = self._model.max_model_len
        count = None if truncate is None else limit if truncate == -1 else min(truncate, limit)

        def encode() -> list[Prompt]:
            return [
                self._checked(self._ids(item, param, count, special=add_special_tokens), param)
                for item in inputs
            ]

        parts = (item if isinstance(item, tuple) else (item,) for item in inputs)
        size = sum(MESSAGE_SIZE + len(part) for item in parts for part in item)
        return await self._preparer.run(encode, size=size)

    def _ids(
        self, item: PooledInput, param: str, count: int | None, *, special: bool
    ) -> Sequence[int]:
        tokenizer = self._model.tokenizer
        if isinstance(item, tuple):
            return tokenizer.encode_pair(*item, count)
        if not isinstance(item, str):
            return self._known(item, param)[:count]
        if count is not None and special:
            return tokenizer.encode_first(item, count)
        return tokenizer.encode(item, add_special_tokens=special)[:count]

    def _known(self, ids: list[int], param: str) -> list[int]:
        limit = self._model.tokenizer.vocab_size
        wrong = next((token_id for token_id in ids if not 0 <= token_id < limit), None)
        if wrong is not None:
            raise RequestError(
                f"{param} holds the token id {wrong}; ids go from 0 to {limit - 1}.", param=param
            )
        return ids

    def _checked(self, ids: Sequence[int], param: str) -> Prompt:
        limit = self._model.max_model_len
        if not ids:
            raise RequestError(
                f"{param} gives an empty text; the model needs at least one token.",
                param=param,
                code="empty_prompt",
            )
        if len(ids) > limit:
            raise ContextLengthError(
                f"This model's maximum context length is {limit} tokens, but a text of {param} has"
                f" {len(ids)}. Shorten it, or let it be cut with truncate_prompt_tokens.",
                param=param,
            )
        return Prompt(tuple(ids))
