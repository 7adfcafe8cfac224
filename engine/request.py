"""Requests as the engine sees them, and the events it answers with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from ftllm.engine.params import SamplingParams
from ftllm.engine.pooling import PoolingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sequence to continue, or with `pooling` to describe by numbers; `params` is of no account
    then. `priority`: lower runs first, then first come first served."""

    request_id: str  # unique among live requests
    prompt_ids: tuple[int, ...]
    params: SamplingParams = field(default_factory=SamplingParams)
    pooling: PoolingParams | None = None  # None = generate
    priority: int = 0
    cache_salt: str = ""  # prefixes are shared only between requests of equal salt
    queue_timeout: float | None = None  # seconds in which it must begin to run, or it expires


class FinishReason(str, Enum):
    # A stop token (the last id of the last TokensEvent), nothing is allowed, or pooling is done.
    STOP = "stop"
    LENGTH = "length"  # max_tokens or the context's end
    ABORTED = "aborted"  # Engine.abort
    EXPIRED = "expired"  # it waited for its queue_timeout and never ran
    ERROR = "error"  # FinishedEvent.error says what
    GRAMMAR = "grammar"  # the output cannot follow its grammar; FinishedEvent.error says why


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One token's log-probability and rank, and the most likely tokens at its place, likeliest
    first, the lower id first among equals."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...]  # (token id, logprob)
    rank: int  # among all tokens, from 1


@dataclass(frozen=True, slots=True)
class PromptLogprobsEvent:
    """Sent once, before the first token, to requests that set prompt_logprobs."""

    request_id: str
    logprobs: tuple[TokenLogprobs | None, ...]  # one per prompt token; None for the first


@dataclass(frozen=True, slots=True)
class TokensEvent:
    """New tokens of a request; `logprobs` has one entry a token when they were asked for."""

    request_id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...] | None


@dataclass(frozen=True, slots=True)
class FinishedEvent:
    """The one terminal event of a request."""

    request_id: str
    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int  # prompt tokens taken from the prefix cache
    output_tokens: int
    error: str | None = None  # of an expired one, why; fit for whoever sent it
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # drafts that were right: output tokens that took no step of their own
    values: tuple[float, ...] | None = None  # what pooling gave; float32 numbers
    # From its submit until it first ran; None: it never did. A measurement, no part of the answer.
    queue_seconds: float | None = field(default=None, compare=False)
    retry_after: int | None = field(default=None, compare=False)  # seconds; of an expired one


Event = PromptLogprobsEvent | TokensEvent | FinishedEvent
Sink = Callable[[list[Event]], None]
"""Takes a request's events of one step, on the engine's thread. Must be quick and never block."""
