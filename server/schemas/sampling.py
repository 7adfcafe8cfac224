"""The fields that chat and text completions have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftllm.sampling_params import MAX_CHOICES
from ftllm.server.schemas.base import Int, LogitBias, Schema, StopStrings, TokenIds


class StreamOptions(Schema):
    include_usage: bool | None = None
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
    user: str | None = None

    # Beyond OpenAI's set; names and meaning as in vLLM.
    top_k: Int | None = None  # 0 or -1 = off
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: Int | None = None
    stop_token_ids: TokenIds | None = None
    ignore_eos: bool | None = None

    @property
    def choices(self) -> int:
        return 1 if self.n is None else self.n

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
