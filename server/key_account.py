"""What the requests of a limited API key use, and whether the next one may.

A request counts when it starts. Its prompt's tokens are charged when the engine takes it; for its
answer as many are reserved as it may have, or as are left. What it generates is charged as it
comes, out of what is reserved, and the rest is given back at its end. So what was reserved is never
exceeded, except by answers that were not told how long they may be, or that began when less was
left than they may have; until that is made good, nothing new of the key starts.

Lives on the event loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from ftllm.engine.stats import FinishRate
from ftllm.server.api_key import NO_LIMITS, ApiKey, KeyLimits
from ftllm.server.errors import ErrorReply, RefusedError
from ftllm.server.sliding_minute import MINUTE, SlidingMinute

# Reserved for an answer that may be of any length.
ASSUMED_ANSWER: Final = 1024

Clock = Callable[[], float]


class KeyRefusalError(RefusedError):
    """A key has used up what it may; `reason` is the limit's name."""

    def __init__(self, reason: str, reply: ErrorReply) -> None:
        super().__init__(reply)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of one limit a minute."""

    limit: int
    remaining: int
    reset: float  # seconds until all of it is there again, if nothing is used


class KeyAccount:
    """The use of the keys of one name."""

    def __init__(self, clock: Clock) -> None:
        self.limits: KeyLimits = NO_LIMITS
        self.clock = clock
        self._requests = SlidingMinute()
        self._tokens = SlidingMinute()
        self._reserved = 0  # tokens
        self._running = 0  # requests
        self._finish_rate = FinishRate()

    @property
    def idle(self) -> bool:
        """Nothing runs, and nothing was used lately: a new account would be the same."""
        now = self.clock()
        used = self._requests.total(now) + self._tokens.total(now)
        return not (used or self._running or self._reserved)

    @property
    def running(self) -> int:
        return self._running

    @property
    def requests(self) -> Allowance | None:
        """None without such a limit."""
        limit, now = self.limits.requests_per_minute, self.clock()
        if limit is None:
            return None
        used = self._requests.total(now)
        return Allowance(limit, max(0, limit - used), self._requests.seconds_until(0, now))

    @property
    def tokens(self) -> Allowance | None:
        limit, now = self.limits.tokens_per_minute, self.clock()
        if limit is None:
            return None
        reset = MINUTE if self._reserved else self._tokens.seconds_until(0, now)
        return Allowance(limit, max(0, self._tokens_left(limit, now)), reset)

    def admit(self, name: str | None) -> Admission:
        """Takes a request, which is over at its admission's `leave`. Raises `KeyRefusalError`, and
        then it does not count."""
        now, limits = self.clock(), self.limits
        most = limits.max_concurrency
        if most is not None and self._running >= most:
            message = (
                f"{_whose(name)} has {self._running} requests running, and may have {most} at once."
                " Wait until one has ended"
            )
            raise _refusal("max_concurrency", message, self._finish_rate.retry_after(now))
        most = limits.requests_per_minute
        if most is not None and (used := self._requests.total(now)) >= most:
            message = f"{_whose(name)} may send {most} requests per minute, and has sent {used}"
            raise _refusal(
                "requests_per_minute", message, self._requests.seconds_until(most - 1, now)
            )
        most = limits.tokens_per_minute
        if most is not None and self._tokens_left(most, now) < 1:
            raise self._no_tokens(name, most, 1, now)
        self._requests.add(1, now)
        self._running += 1
        return Admission(self, name)

    def leave(self) -> None:
        self._running -= 1
        self._finish_rate.add(self.clock())

    def reserve(self, name: str | None, prompt: int, answer: int) -> int:
        """Sets tokens aside, and tells how many. Raises `KeyRefusalError` when the prompt and one
        token more are not left."""
        limit, now = self.limits.tokens_per_minute, self.clock()
        if limit is None:
            return 0
        needed = prompt + min(answer, 1)
        left = self._tokens_left(limit, now)
        if needed > left:
            raise self._no_tokens(name, limit, needed, now)
        tokens = min(prompt + answer, left)
        self._reserved += tokens
        return tokens

    def charge(self, tokens: int, *, reserved: int) -> None:
        """`reserved` of them had been set aside."""
        self._reserved -= reserved
        self._tokens.add(tokens, self.clock())

    def give_back(self, tokens: int) -> None:
        self._reserved -= tokens

    def _tokens_left(self, limit: int, now: float) -> int:
        return limit - self._tokens.total(now) - self._reserved

    def _no_tokens(self, name: str | None, limit: int, needed: int, now: float) -> KeyRefusalError:
        rule = f"{_whose(name)} may use {limit} tokens per minute, of prompts and answers together"
        if needed > limit:
            message = f"{rule}; this request needs {needed}. Shorten it: it can never be served"
            return _refusal("tokens_per_minute", message, MINUTE, retries=False)
        message = f"{rule}: {self._tokens.total(now)} are used"
        if self._reserved:
            message += f" and {self._reserved} set aside for requests that run"
        message += f", and this request needs {needed}"
        most = limit - needed - self._reserved
        if most < 0:  # some of those that run must end first
            wait: float = self._finish_rate.retry_after(now)
        else:
            wait = self._tokens.seconds_until(most, now)
        return _refusal("tokens_per_minute", message, wait)


class Admission:
    """One HTTP request of a limited key, from its start to its end. `hold` and `leave` count who
    still works for it; the last `leave` ends it."""

    def __init__(self, account: KeyAccount, name: str | None) -> None:
        self._account = account
        self._name = name
        self._reserved = 0  # tokens
        self._holders = 1

    @contextmanager
    def reserving(self, *, prompt: int, answer: int) -> Iterator[None]:
        """Sets tokens aside for what the block submits, and charges the prompt if it succeeds.
        Raises `KeyRefusalError`."""
        self._reserved += self._account.reserve(self._name, prompt, answer)
        try:
            yield
        except BaseException:
            self.settle()
            raise
        self.spend(prompt)

    def spend(self, tokens: int) -> None:
        reserved = min(tokens, self._reserved)
        self._reserved -= reserved
        self._account.charge(tokens, reserved=reserved)

    def settle(self) -> None:
        """Gives back what is not used: nothing more is generated."""
        tokens, self._reserved = self._reserved, 0
        self._account.give_back(tokens)

    def hold(self) -> None:
        self._holders += 1

    def leave(self) -> None:
        self._holders -= 1
        if not self._holders:
            self.settle()
            self._account.leave()


class KeyAccounts:
    """The accounts of all limited keys. They outlive a change of the keys."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, KeyAccount] = {}

    def set_keys(self, keys: Iterable[ApiKey]) -> None:
        """From now on these keys' limits hold, also for what was used before."""
        limits = {key.account: key.limits for key in keys if key.limits.any}
        for name in limits.keys() - self._accounts.keys():
            self._accounts[name] = KeyAccount(self._clock)
        for name, account in list(self._accounts.items()):
            account.limits = limits.get(name, NO_LIMITS)
            if name not in limits and account.idle:
                del self._accounts[name]

    def of(self, key: ApiKey) -> KeyAccount | None:
        """None for a key without limits."""
        return self._accounts.get(key.account) if key.limits.any else None


def _whose(name: str | None) -> str:
    return "This API key" if name is None else f"The API key {name!r}"


def _refusal(reason: str, message: str, wait: float, *, retries: bool = True) -> KeyRefusalError:
    seconds = max(1, math.ceil(wait))
    headers = {"Retry-After": str(seconds)}
    if retries:
        message += f". Try again in {seconds} s."
    else:
        message += "."
        headers["x-should-retry"] = "false"  # to OpenAI's and Anthropic's SDKs
    return KeyRefusalError(reason, ErrorReply(429, message, "rate_limit_exceeded", headers=headers))
