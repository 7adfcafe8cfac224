"""One request's state inside the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ftllm import _core
from ftllm.engine.matcher import TokenMatcher
from ftllm.engine.pooling import Pooler, make_pooler
from ftllm.engine.prefix_cache import CachedBlock
from ftllm.engine.request import FinishedEvent, FinishReason, Request, TokenLogprobs
from ftllm.engine.speculation import Drafter

NO_SLOT = -1


@dataclass(slots=True, eq=False)
class Sequence:
    """A request, its tokens and what it holds of the KV cache. Only the engine's thread uses it."""

    request: Request
    sampler: _core.Sampler | None  # kept over preemptions: it counts the tokens already sent
    context_len: int  # tokens that any request may reach
    drafter: Drafter | None = None  # None: it decodes token by token
    matcher: TokenMatcher | None = None  # kept over preemptions, as the sampler is
    pooler: Pooler | None = field(init=False)  # None: it generates
    max_len: int = field(init=False)  # tokens of prompt and output at which this one ends
    tokens: list[int] = field(init=False)  # the prompt, then the output
    num_computed: int = 0  # tokens whose K/V is in the cache
    order: tuple[int, int] = (0, 0)  # (priority, arrival): lower runs first, higher is preempted
    slot: int = NO_SLOT  # row in the block tables while it runs
    blocks: list[int] = field(default_factory=list)
    room: int = 0  # tokens that its blocks can hold
    cached: list[CachedBlock] = field(default_factory=list)  # entries of its leading full blocks
    next_full: int = 0  # num_computed at which its next block is full; 0: no more are cached
    blocked_at: int = -1  # KvBlocks.releases when it last found too few blocks
    cached_tokens: int | None = None  # prompt tokens found in the cache; None before it first runs
    prompt_logprobs: list[TokenLogprobs | None] | None = None  # while they are being collected
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that were right
    submitted_at: float = 0.0  # both in seconds of `time.monotonic()`
    started_at: float | None = None  # when it first got a place among those that run

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt_ids)
        max_tokens = self.request.params.max_tokens
        self.pooler = make_pooler(self.request.pooling)
        self.max_len = self.context_len
        if self.pooler is not None:
            self.max_len += 1  # its prompt may fill the context: no token comes after it
        elif max_tokens is not None:
            self.max_len = min(self.max_len, self.num_prompt + max_tokens)
        if self.request.params.prompt_logprobs is not None:
            self.prompt_logprobs = [None]

    @property
    def num_prompt(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def expires_at(self) -> float:
        """In seconds of `time.monotonic()`; infinite once it has run."""
        timeout = self.request.queue_timeout
        if timeout is None or self.started_at is not None:
            return math.inf
        return self.submitted_at + timeout

    @property
    def pending(self) -> int:
        """Tokens to compute before the next can be sampled."""
        return len(self.tokens) - self.num_computed

    @property
    def decodes(self) -> bool:
        """One token is left to compute, and the next is sampled behind it."""
        return self.pooler is None and self.pending == 1

    def targets(self, rows: int) -> int:
        """How many of its next `rows` rows give a prompt token's log-probability."""
        if self.prompt_logprobs is None:
            return 0
        return max(0, min(rows, self.num_prompt - 1 - self.num_computed))

    def restart(self) -> None:
        """Forget what was computed, not what was sent: prompt and output are prefilled again."""
        self.num_computed = 0
        if self.pooler is not None:
            self.pooler.restart()
        if self.prompt_logprobs is not None:
            self.prompt_logprobs = [None]

    def finished(
        self,
        reason: FinishReason,
        error: str | None = None,
        values: tuple[float, ...] | None = None,
    ) -> FinishedEvent:
        return FinishedEvent(
            request_id=self.request.request_id,
            reason=reason,
            prompt_tokens=self.num_prompt,
            cached_tokens=self.cached_tokens or 0,
            output_tokens=len(self.tokens) - self.num_prompt,
            drafted_tokens=self.drafted_tokens,
            accepted_tokens=self.accepted_tokens,
            error=error,
            values=values,
            queue_seconds=None if self.started_at is None else self.started_at - self.submitted_at,
        )

    def check(self) -> None:
        """Assert what holds between two steps."""
        name = self.request.request_id
        assert 0 <= self.num_computed < len(self.tokens) < self.max_len, f"{name}: counts"
        assert (self.slot == NO_SLOT) == (not self.blocks), f"{name}: blocks without a slot"
        assert len(self.cached) <= len(self.blocks), f"{name}: more cached blocks than blocks"
        if self.slot == NO_SLOT:
            assert self.num_computed == 0, f"{name}: waits, but has computed tokens"
        if self.prompt_logprobs is not None:
            known = 1 + min(self.num_computed, self.num_prompt - 1)
            assert len(self.prompt_logprobs) == known, f"{name}: prompt logprobs"
