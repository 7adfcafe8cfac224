"""What a request asks of the sampler, in token ids only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftllm.engine.matcher import TokenGrammar
from ftllm.errors import RequestError

MAX_LOGPROBS = 20  # OpenAI's limit for top_logprobs
MAX_LOGIT_BIAS = 1024
MAX_STOP_TOKENS = 1024
MAX_BAD_WORDS = 1024
MAX_BAD_WORD_TOKENS = 64  # a longer sequence hardly occurs anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """Sampling of one request. Penalties follow OpenAI (presence, frequency: subtracted, counted
    over generated tokens) and Hugging Face (repetition: multiplicative, over prompt and output).

    Raises `RequestError` naming the field when a value is out of range.
    """

    temperature: float = 1.0  # 0 = greedy
    top_k: int = 0  # 0 = off
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None = drawn by the engine when the request arrives
    max_tokens: int | None = None  # None = up to the context's end
    min_tokens: int = 0  # stop tokens cannot be sampled before
    stop_token_ids: frozenset[int] = frozenset()  # end-of-sequence ids included by the caller
    allowed_token_ids: frozenset[int] | None = None  # nothing else is sampled; None = all
    bad_words: tuple[tuple[int, ...], ...] = ()  # token sequences that the output never holds
    logprobs: int | None = None  # None = off; n = the sampled token's and the n most likely
    prompt_logprobs: int | None = None  # the same for every prompt token but the first
    grammar: TokenGrammar | None = None  # what the output has to match

    def __post_init__(self) -> None:
        _in_range("temperature", self.temperature, 0.0, 100.0)
        _in_range("top_p", self.top_p, 0.0, 1.0)
        if self.top_p == 0.0:
            raise RequestError(
                "top_p is 0; it must be above 0 and at most 1. For greedy decoding set"
                " temperature to 0.",
                param="top_p",
            )
        _in_range("min_p", self.min_p, 0.0, 1.0)
        _in_range("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        _in_range("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _in_range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _in_range("top_k", self.top_k, 0, 2**31 - 1)
        if self.max_tokens is not None:
            _in_range("max_tokens", self.max_tokens, 1, 2**31 - 1)
        _in_range("min_tokens", self.min_tokens, 0, 2**31 - 1)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise RequestError(
                f"min_tokens is {self.min_tokens}, above max_tokens {self.max_tokens}.",
                param="min_tokens",
            )
        if self.seed is not None:
            _in_range("seed", self.seed, -(2**63), 2**64 - 1)
        for name, count in (("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)):
            if count is not None:
                _in_range(name, count, 0, MAX_LOGPROBS)
        if len(self.logit_bias) > MAX_LOGIT_BIAS:
            raise RequestError(
                f"logit_bias has {len(self.logit_bias)} entries; at most {MAX_LOGIT_BIAS} are"
                " allowed.",
                param="logit_bias",
            )
        for bias in self.logit_bias.values():
            _in_range("logit_bias", bias, -100.0, 100.0)
        if len(self.stop_token_ids) > MAX_STOP_TOKENS:
            raise RequestError(
                f"stop_token_ids has {len(self.stop_token_ids)} entries; at most"
                f" {MAX_STOP_TOKENS} are allowed.",
                param="stop_token_ids",
            )
        self._check_bad_words()
        self._check_allowed()

    def _check_bad_words(self) -> None:
        if len(self.bad_words) > MAX_BAD_WORDS:
            raise RequestError(
                f"bad_words gives {len(self.bad_words)} token sequences; at most {MAX_BAD_WORDS}"
                " are allowed.",
                param="bad_words",
            )
        for length in map(len, self.bad_words):
            if not 1 <= length <= MAX_BAD_WORD_TOKENS:
                raise RequestError(
                    f"bad_words holds a word of {length} tokens; each must have from 1 to"
                    f" {MAX_BAD_WORD_TOKENS}.",
                    param="bad_words",
                )

    def _check_allowed(self) -> None:
        """Something must be left to sample, at the first token at least."""
        if self.allowed_token_ids is None:
            return
        excluded = {word[0] for word in self.bad_words if len(word) == 1}
        if self.min_tokens > 0:
            excluded |= self.stop_token_ids
        if self.allowed_token_ids <= excluded:
            raise RequestError(
                "allowed_token_ids leaves no token to sample: the list is empty, or bad_words and"
                " min_tokens exclude all of it. Name at least one other token.",
                param="allowed_token_ids",
            )


def _in_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise RequestError(f"{name} is {value}; it must be from {low} to {high}.", param=name)
