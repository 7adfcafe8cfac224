"""What a request wants to be told beside the text."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.server.schemas.sampling import SamplingFields


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDetails:
    """Each is off unless asked for."""

    logprobs: bool = False
    tokens_as_ids: bool = False  # log-probabilities name tokens as "token_id:42"
    token_ids: bool = False
    prompt_logprobs: int | None = None  # likeliest tokens for each of the prompt's
    include_usage: bool = False  # a last chunk with the usage
    continuous_usage: bool = False  # the usage so far in every chunk

    @classmethod
    def asked_by(cls, body: SamplingFields, *, logprobs: bool) -> AnswerDetails:
        options = body.stream_options
        return cls(
            logprobs=logprobs,
            tokens_as_ids=bool(body.return_tokens_as_token_ids),
            token_ids=bool(body.return_token_ids),
            prompt_logprobs=body.prompt_logprobs,
            include_usage=options is not None and bool(options.include_usage),
            continuous_usage=options is not None and bool(options.continuous_usage_stats),
        )
