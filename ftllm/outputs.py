"""What the offline API returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's natural-log probability; `top` lists the most likely tokens at its place."""

    token_id: int
    token: str  # printable; a piece of a character shows as U+FFFD
    logprob: float
    top: tuple[TokenLogprob, ...] = ()  # likeliest first, each with an empty `top`


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One answer to one prompt."""

    index: int  # 0 to n - 1
    text: str
    token_ids: tuple[int, ...]  # a final stop token included
    finish_reason: str  # "stop", "length", or "abort" when the caller closed the stream
    logprobs: tuple[TokenLogprob, ...] | None  # one a token, when SamplingParams.logprobs is set


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A prompt and its `n` answers, with the token counts of the whole request."""

    prompt: str | None  # None when the prompt was given as token ids
    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]  # by index
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None  # None for the first token
    cached_tokens: int  # prompt tokens of the first answer taken from the prefix cache
    drafted_tokens: int = 0  # guesses of speculative decoding, over all answers
    accepted_tokens: int = 0  # those that were right

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt_token_ids)

    @property
    def output_tokens(self) -> int:
        """Generated tokens, summed over the answers."""
        return sum(len(output.token_ids) for output in self.outputs)


@dataclass(frozen=True, slots=True)
class EmbeddingOutput:
    """A text's vector."""

    prompt: str | None  # None when it was given as token ids
    prompt_token_ids: tuple[int, ...]
    embedding: tuple[float, ...]  # float32 numbers
    cached_tokens: int  # tokens taken from the prefix cache


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of a streamed answer. The last one carries the whole result."""

    text: str  # may be empty while a character or a stop string is incomplete
    token_ids: tuple[int, ...]
    result: RequestOutput | None = None
