"""What the sampler must do, written with float64 NumPy and no attention to speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ftllm import _core

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The sampler's options, each off unless given."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    min_tokens: int = 0
    stop_token_ids: Sequence[int] = ()
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[Sequence[int]] = ()
    prompt_ids: Sequence[int] = ()

    def sampler(self, accepted: Sequence[int] = ()) -> _core.Sampler:
        """A sampler with these options that has accepted these tokens."""
        sampler = _core.Sampler(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            seed=self.seed,
            min_tokens=self.min_tokens,
            stop_token_ids=self.stop_token_ids,
            allowed_token_ids=self.allowed_token_ids,
            bad_words=self.bad_words,
            prompt_ids=self.prompt_ids,
        )
        for token in accepted:
            sampler.accept(token)
        return sampler


def adjusted(logits: Float32Array, options: Options, accepted: Sequence[int]) -> Float64Array:
    """Logits (V,) after biases, penalties and the mask of stop tokens."""
    scores = logits.astype(np.float64)
    for token, bias in options.logit_bias.items():
        scores[token] += bias
    for token in {*options.prompt_ids, *accepted}:
        penalty = options.repetition_penalty
        scores[token] *= penalty if scores[token] < 0 else 1 / penalty
    for token in set(accepted):
        scores[token] -= options.presence_penalty
        scores[token] -= options.frequency_penalty * list(accepted).count(token)
    if len(accepted) < options.min_tokens:
        scores[list(options.stop_token_ids)] = -np.inf
    if options.allowed_token_ids is not None:
        forbidden = np.ones(len(scores), bool)
        forbidden[list(options.allowed_token_ids)] = False
        scores[forbidden] = -np.inf
    for *before, last in options.bad_words:
        if list(accepted)[len(accepted) - len(before) :] == before:
            scores[last] = -np.inf
    return scores


def probabilities(
    logits: Float32Array, options: Options, accepted: Sequence[int] = ()
) -> Float64Array:
    """The distribution (V,) that the next token is drawn from, for a temperature above 0."""
    scores = adjusted(logits, options, accepted) / options.temperature
    weights = np.exp(scores - scores.max())
    order = np.argsort(-weights, kind="stable")  # ties: lower id first
    keep = np.ones(len(weights), bool)
    if options.top_k:
        keep[order[options.top_k :]] = False
    keep &= weights >= options.min_p
    weights = np.where(keep, weights, 0.0)
    if options.top_p < 1:
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= options.top_p * weights.sum()]] = 0.0
    result: Float64Array = weights / weights.sum()
    return result
