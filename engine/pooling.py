"""Requests that ask for numbers about their prompt instead of tokens after it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from ftllm.engine.plan import Float32Array
from ftllm.errors import RequestError

MAX_SCORED_TOKENS = 20  # log-probabilities at one place, as many as a sampled token can have


class PoolingMethod(str, Enum):
    """Which of a prompt's final hidden states make its vector."""

    LAST = "last"
    MEAN = "mean"
    CLS = "cls"  # the first


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingParams:
    """Asks for one vector of the prompt. Of a vector cut to its first `dimensions` values the rest
    is normalized, as models trained for it want (Kusupati et al. 2022, arXiv:2205.13147).

    Raises `RequestError` naming the field when a value is out of range.
    """

    method: PoolingMethod
    normalize: bool = True  # to Euclidean length 1
    dimensions: int | None = None  # None = all

    def __post_init__(self) -> None:
        if self.dimensions is not None and self.dimensions < 1:
            raise RequestError(
                f"dimensions is {self.dimensions}; it must be at least 1.", param="dimensions"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScoresParams:
    """Asks for the log-probability of each of `token_ids` as the token after the prompt."""

    token_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.token_ids) <= MAX_SCORED_TOKENS:
            raise RequestError(
                f"{len(self.token_ids)} tokens are to be scored; it must be from 1 to"
                f" {MAX_SCORED_TOKENS}.",
                param="token_ids",
            )


PoolingParams = EmbeddingParams | TokenScoresParams


class Pooler(Protocol):
    """One request's numbers in the making. Rows of the prompt come in order, each once."""

    @property
    def whole_prompt(self) -> bool:
        """It needs rows that a cached prefix would skip."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Tokens whose log-probability it needs at the last row."""

    def rows(self, begin: int, end: int, length: int) -> range:
        """The positions in [begin, end) of a prompt of `length` whose hidden state it needs."""

    def add(self, hidden: Float32Array) -> None:
        """The hidden states (n, H) of the next n such positions."""

    def restart(self) -> None:
        """Forget: the prompt is computed again."""

    def values(self, logprobs: list[float]) -> tuple[float, ...] | None:
        """The result, given the log-probabilities of `token_ids`; None unless all are finite."""


class EmbeddingPooler:
    """Adds hidden states in float64 and one by one, so that neither the batch nor the chunks of a
    prompt change a bit of the result."""

    token_ids: tuple[int, ...] = ()

    def __init__(self, params: EmbeddingParams) -> None:
        self._params = params
        self._sum = np.zeros(0, np.float64)
        self._count = 0

    @property
    def whole_prompt(self) -> bool:
        return self._params.method is not PoolingMethod.LAST

    def rows(self, begin: int, end: int, length: int) -> range:
        match self._params.method:
            case PoolingMethod.MEAN:
                return range(begin, end)
            case PoolingMethod.CLS:
                return range(begin, min(1, end))
            case PoolingMethod.LAST:
                return range(max(begin, length - 1), end)

    def add(self, hidden: Float32Array) -> None:
        if not self._count:
            self._sum = np.zeros(hidden.shape[1], np.float64)
        for row in hidden:
            self._sum += row
        self._count += len(hidden)

    def restart(self) -> None:
        self._count = 0

    def values(self, logprobs: list[float]) -> tuple[float, ...] | None:
        vector = self._sum[: self._params.dimensions] / self._count
        if self._params.normalize and (length := np.sqrt(np.square(vector).sum())) > 0.0:
            vector /= length
        rounded = vector.astype(np.float32)
        return tuple(rounded.tolist()) if np.isfinite(rounded).all() else None


class TokenScorer:
    """Needs no hidden state: the logits of the last row say it all."""

    whole_prompt = False

    def __init__(self, params: TokenScoresParams) -> None:
        self.token_ids = params.token_ids

    def rows(self, begin: int, end: int, length: int) -> range:
        return range(0)

    def add(self, hidden: Float32Array) -> None:
        pass

    def restart(self) -> None:
        pass

    def values(self, logprobs: list[float]) -> tuple[float, ...] | None:
        return tuple(logprobs) if np.isfinite(logprobs).all() else None


def make_pooler(params: PoolingParams | None) -> Pooler | None:
    """None for a request that generates."""
    match params:
        case EmbeddingParams():
            return EmbeddingPooler(params)
        case TokenScoresParams():
            return TokenScorer(params)
    return None
