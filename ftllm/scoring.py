"""Scores of pairs of texts: which texts to pool, and the arithmetic on what comes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Protocol

from ftllm.engine.pooling import EmbeddingParams, TokenScoresParams
from ftllm.pooling_profile import PoolingProfile

Vector = Sequence[float]


Pair = tuple[str, str]


class ScorePlan(Protocol):
    """The work for some pairs. Each of `texts` (a pair: as one sequence) is to be pooled with
    `params`."""

    @property
    def texts(self) -> Sequence[str | Pair]: ...

    @property
    def params(self) -> EmbeddingParams | TokenScoresParams: ...

    @property
    def add_special_tokens(self) -> bool: ...  # False: the texts spell them

    def score(self, pair: int, values: Sequence[Vector]) -> float:
        """Of pair number `pair`, given what each text gave."""


@dataclass(frozen=True, slots=True)
class CosinePlan:
    """Each text is embedded once, however many pairs it is in."""

    texts: Sequence[str]
    params: EmbeddingParams
    places: Sequence[tuple[int, int]]  # of each pair's texts
    add_special_tokens: bool = True

    def score(self, pair: int, values: Sequence[Vector]) -> float:
        """From -1 to 1: the vectors have length 1."""
        first, second = self.places[pair]
        return math.fsum(map(mul, values[first], values[second]))


@dataclass(frozen=True, slots=True)
class YesNoPlan:
    """One prompt a pair."""

    texts: Sequence[str]
    params: TokenScoresParams
    add_special_tokens: bool = False

    def score(self, pair: int, values: Sequence[Vector]) -> float:
        """From 0 to 1: the probability of "yes" where the answer is "yes" or "no"."""
        yes, no = values[pair]
        return _logistic(yes - no)


@dataclass(frozen=True, slots=True)
class ClassifierPlan:
    """The model reads both texts together."""

    texts: Sequence[Pair]
    params: EmbeddingParams
    add_special_tokens: bool = True

    def score(self, pair: int, values: Sequence[Vector]) -> float:
        """From 0 to 1: the logistic function of the classifier's logit."""
        return _logistic(values[pair][0])


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(min(-x, 700.0)))  # beyond 709 the exponential overflows


def plan_scores(profile: PoolingProfile, pairs: Sequence[Pair]) -> ScorePlan:
    """`pairs` are (query, document)."""
    if profile.classifies:
        params = EmbeddingParams(method=profile.method, normalize=False)
        return ClassifierPlan(pairs, params)
    if profile.judge is not None:
        prompts = [profile.judge.prompt.render(query, document) for query, document in pairs]
        return YesNoPlan(prompts, profile.judge.answers)
    place = {text: number for number, text in enumerate(dict.fromkeys(t for p in pairs for t in p))}
    places = [(place[query], place[document]) for query, document in pairs]
    return CosinePlan(list(place), profile.direction(), places)
