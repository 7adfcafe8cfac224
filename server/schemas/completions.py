"""POST /v1/completions."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from ftllm.engine.params import MAX_LOGPROBS
from ftllm.sampling_params import MAX_CHOICES
from ftllm.server.schemas.base import Int
from ftllm.server.schemas.sampling import SamplingFields

PromptInput = str | list[int]


def prompt_list(value: object) -> list[PromptInput]:
    """Every accepted spelling as a list of prompts, each a text or a list of token ids."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        if value and all(type(item) is int for item in value):
            return [value]
        if all(isinstance(item, str) or _is_id_list(item) for item in value):
            return value
    raise PydanticCustomError(
        "prompt_type",
        "It must be a string, an array of strings, an array of token ids, or an array of arrays of"
        " token ids",
    )


def _is_id_list(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


Prompts = Annotated[
    list[PromptInput],
    BeforeValidator(
        prompt_list, json_schema_input_type=str | list[str] | list[int] | list[list[int]]
    ),
    Field(min_length=1),
]


class CompletionRequest(SamplingFields):
    prompt: Prompts
    max_tokens: Annotated[Int, Field(ge=0)] | None = None  # None = 16, as OpenAI has it
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    suffix: str | None = None  # for models whose vocabulary has fill-in-the-middle tokens

    @property
    def drawn_choices(self) -> int:
        """Answers to generate for each prompt; the best `choices` of them are returned."""
        return max(self.choices, self.best_of or 0)
