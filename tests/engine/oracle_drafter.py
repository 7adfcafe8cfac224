"""A drafter that knows the answer, and errs as often as it is told to."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fake_executor import expected_tokens

from ftllm.engine.request import Request

VOCAB_SIZE = 50  # of FakeExecutor


class OracleDrafter:
    """Proposes as many tokens as it may, past the request's end too."""

    def __init__(self, request: Request, *, error_rate: float, context_len: int) -> None:
        self._answer = expected_tokens(
            request.prompt_ids, request.params, vocab_size=VOCAB_SIZE, context_len=context_len
        )
        self._draw = random.Random(request.request_id)
        self._error_rate = error_rate
        self.known = 0  # tokens that the request has
        self.prices: list[float] = []

    def propose(self, most: int, price: float) -> Sequence[int]:
        assert most >= 1
        self.prices.append(price)
        drafts = [*self._answer[self.known : self.known + most], *([1] * most)][:most]
        wrong = (self._draw.random() < self._error_rate for _ in drafts)
        return [(d + bad) % VOCAB_SIZE for d, bad in zip(drafts, wrong, strict=True)]

    def record(self, tokens: Sequence[int], *, drafted: int, accepted: int) -> None:
        assert accepted <= min(drafted, len(tokens))
        self.known += len(tokens)
        assert list(tokens) == self._answer[self.known - len(tokens) : self.known]
