"""The fields that chat and text completions have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftllm.engine.params import MAX_BAD_WORDS, MAX_LOGPROBS
from ftllm.sampling_params import MAX_CHOICES
from ftllm.server.schemas.base import (
    Int,
    JsonObject,
    JsonValue,
    LogitBias,
    Schema,
    StopStrings,
    TokenIds,
)
from ftllm.server.schemas.structured_output import ResponseFormat, StructuredOutputs

MAX_SALT_CHARS = 1024  # vLLM's limit
MAX_BAD_WORD_CHARS = 256


class StreamOptions(Schema):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None  # vLLM's: usage so far in every chunk
    include_obfuscation: bool | None = None  # padding against traffic analysis: hosted only


class SamplingFields(Schema):
    """None = left out: the model's own default holds, or else OpenAI's."""

    model: str | None = None  # None = the served model
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopStrings = Field(default_factory=list)
    seed: Int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: LogitBias | None = None

    response_format: ResponseFormat | None = None

    # Beyond OpenAI's set; names and meaning as in vLLM.
    structured_outputs: StructuredOutputs | None = None
    guided_json: JsonValue = None  # older spellings of what is in structured_outputs
    guided_regex: str | None = None
    guided_choice: list[str] | None = None
    guided_grammar: str | None = None
    top_k: Int | None = None  # 0 or -1 = off
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: Int | None = None
    stop_token_ids: TokenIds | None = None
    ignore_eos: bool | None = None
    allowed_token_ids: TokenIds | None = None
    bad_words: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=MAX_BAD_WORD_CHARS)]],
            Field(max_length=MAX_BAD_WORDS // 2, fail_fast=True),  # each gives two sequences
        ]
        | None
    ) = None
    skip_special_tokens: bool | None = None  # None = true
    spaces_between_special_tokens: bool | None = None  # no effect: a text never gets such spaces
    include_stop_str_in_output: bool | None = None
    truncate_prompt_tokens: Annotated[Int, Field(ge=-1)] | None = None  # -1 = to what fits
    truncation_side: Literal["left", "right"] | None = None  # None = left: the end is kept
    add_special_tokens: bool | None = None  # None = true for a prompt, false for messages
    prompt_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    priority: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = None  # lower runs first
    cache_salt: Annotated[str, Field(min_length=1, max_length=MAX_SALT_CHARS)] | None = None
    use_beam_search: bool | None = None  # known, but not honoured: refused when true
    length_penalty: float | None = None  # of beam search: refused unless 1
    # SGLang's, which routers add with their defaults: refused when they ask for something else.
    no_stop_trim: bool | None = None
    return_hidden_states: bool | None = None

    # Accepted: only a hosted service can mean them.
    user: str | None = None
    store: bool | None = None
    metadata: JsonObject | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: JsonValue = None

    @property
    def choices(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
