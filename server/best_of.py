"""The best of several answers to each prompt."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.server.generation import ChoiceResult


def best_choices(drawn: Sequence[ChoiceResult], *, n: int, best_of: int) -> Sequence[ChoiceResult]:
    """Of every `best_of` neighbours the `n` of the highest mean log-probability a token, best
    first; all of them, as they came, when there is nothing to choose."""
    if n == best_of:
        return drawn
    kept: list[ChoiceResult] = []
    for start in range(0, len(drawn), best_of):
        answers = drawn[start : start + best_of]
        kept += sorted(answers, key=lambda answer: -answer.mean_logprob)[:n]
    return kept
