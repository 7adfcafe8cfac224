"""Makes a request's sampler."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Protocol

from ftllm import _core
from ftllm.engine.request import Request


class SamplerFactory(Protocol):
    """`_core.Sampler`, or what stands in for it in a test."""

    def __call__(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        logit_bias: Mapping[int, float],
        seed: int,
        min_tokens: int,
        stop_token_ids: Sequence[int],
        allowed_token_ids: Sequence[int] | None,
        bad_words: Sequence[Sequence[int]],
        prompt_ids: Sequence[int],
    ) -> _core.Sampler: ...


def make_sampler(factory: SamplerFactory, request: Request) -> _core.Sampler:
    """Seeds are unsigned 64-bit: negative ones wrap around, a missing one is drawn."""
    params = request.params
    allowed = params.allowed_token_ids
    seed = secrets.randbits(64) if params.seed is None else params.seed % 2**64
    return factory(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        logit_bias=params.logit_bias,
        seed=seed,
        min_tokens=params.min_tokens,
        stop_token_ids=sorted(params.stop_token_ids),
        allowed_token_ids=None if allowed is None else sorted(allowed),
        bad_words=params.bad_words,
        prompt_ids=request.prompt_ids,
    )
