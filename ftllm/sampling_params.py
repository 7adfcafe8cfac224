"""Sampling as users of the offline API state it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ftllm.engine.matcher import TokenGrammar
from ftllm.engine.params import SamplingParams as EngineParams
from ftllm.errors import RequestError
from ftllm.text.grammar import Grammar

MAX_CHOICES = 128  # OpenAI's limit for n
MAX_STOP_STRINGS = 64

Number = TypeVar("Number", int, float)


class SamplingDefaults(Protocol):
    """A model's own recommendations; None where it has none."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def min_p(self) -> float | None: ...
    @property
    def repetition_penalty(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class _NoDefaults:
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How to continue one prompt. Fields left None take the model's generation_config value,
    else the neutral one. Out-of-range values raise `RequestError` naming the field.
    """

    n: int = 1  # answers per prompt
    temperature: float | None = None  # 0 = greedy; neutral: 1
    top_p: float | None = None  # neutral: 1
    top_k: int | None = None  # 0 = off
    min_p: float | None = None  # 0 = off
    repetition_penalty: float | None = None  # multiplicative (Hugging Face's); neutral: 1
    presence_penalty: float = 0.0  # subtracted (OpenAI's)
    frequency_penalty: float = 0.0  # subtracted once per occurrence (OpenAI's)
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None  # None = another one each time; answer i of n uses seed + i
    max_tokens: int | None = None  # None = up to the context's end
    min_tokens: int = 0  # no stop token before
    stop: str | Sequence[str] = ()  # texts that end the answer
    stop_token_ids: Collection[int] = ()  # beside the model's end-of-sequence tokens
    allowed_token_ids: Collection[int] | None = None  # nothing else is generated; None = all
    bad_words: Sequence[str] = ()  # words that are not generated, as the tokenizer spells them
    include_stop_str_in_output: bool = False  # keep the stop text, or the stop token's, in `text`
    skip_special_tokens: bool = True  # leave markup tokens out of `text`
    ignore_eos: bool = False  # go on after the model's end-of-sequence tokens
    grammar: Grammar | None = None  # what the answer has to match
    logprobs: int | None = None  # None = off; k = the sampled token's and the k likeliest, 0 to 20
    prompt_logprobs: int | None = None  # the same for the prompt

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_CHOICES:
            raise RequestError(f"n is {self.n}; it must be from 1 to {MAX_CHOICES}.", param="n")
        stops = self.stop_strings
        if len(stops) > MAX_STOP_STRINGS:
            raise RequestError(
                f"stop has {len(stops)} strings; at most {MAX_STOP_STRINGS} are allowed.",
                param="stop",
            )
        if "" in stops:
            raise RequestError("stop has an empty string, which matches anywhere.", param="stop")
        self.for_choice(0, defaults=_NoDefaults(), eos_token_ids=frozenset())  # checks the rest

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    def for_choice(
        self,
        choice: int,
        *,
        defaults: SamplingDefaults,
        eos_token_ids: frozenset[int],
        bad_word_ids: tuple[tuple[int, ...], ...] = (),
        grammar: TokenGrammar | None = None,
    ) -> EngineParams:
        """The engine's parameters for answer `choice` of `n`. `bad_word_ids` spell `bad_words`, and
        `grammar` is the compiled one."""
        allowed = self.allowed_token_ids
        stop_token_ids = frozenset(self.stop_token_ids)
        if not self.ignore_eos:
            stop_token_ids |= eos_token_ids
        return EngineParams(
            temperature=_first(self.temperature, defaults.temperature, 1.0),
            top_k=_first(self.top_k, defaults.top_k, 0),
            top_p=_first(self.top_p, defaults.top_p, 1.0),
            min_p=_first(self.min_p, defaults.min_p, 0.0),
            repetition_penalty=_first(self.repetition_penalty, defaults.repetition_penalty, 1.0),
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            seed=self._seed(choice),
            max_tokens=self.max_tokens,
            min_tokens=self.min_tokens,
            stop_token_ids=stop_token_ids,
            allowed_token_ids=None if allowed is None else frozenset(allowed),
            bad_words=bad_word_ids,
            grammar=grammar,
            logprobs=self.logprobs,
            prompt_logprobs=self.prompt_logprobs if choice == 0 else None,
        )

    def _seed(self, choice: int) -> int | None:
        if self.seed is None or choice == 0:
            return self.seed
        return (self.seed + choice) % 2**64  # seeds are 64 bits wide


def _first(given: Number | None, recommended: Number | None, neutral: Number) -> Number:
    if given is not None:
        return given
    return recommended if recommended is not None else neutral
