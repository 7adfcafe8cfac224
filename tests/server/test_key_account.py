from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ftllm.server.api_key import NO_LIMITS, ApiKey, KeyLimits
from ftllm.server.key_account import Admission, KeyAccount, KeyAccounts, KeyRefusalError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def account(clock: Clock, limits: KeyLimits) -> KeyAccount:
    account = KeyAccount(clock)
    account.limits = limits
    return account


def remaining(account: KeyAccount) -> int:
    tokens = account.tokens
    assert tokens is not None
    return tokens.remaining


def test_requests_a_minute(clock: Clock) -> None:
    limited = account(clock, KeyLimits(requests_per_minute=2))
    for _ in range(2):
        limited.admit("alice").leave()
        clock.now += 10
    for _ in range(3):  # those that are refused do not count
        with pytest.raises(KeyRefusalError) as caught:
            limited.admit("alice")
    assert caught.value.reason == "requests_per_minute"
    reply = caught.value.reply
    assert (reply.status, reply.code, reply.kind) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert reply.message == (
        "The API key 'alice' may send 2 requests per minute, and has sent 2. Try again in 40 s."
    )
    assert reply.headers == {"Retry-After": "40"}
    clock.now += 39.9
    with pytest.raises(KeyRefusalError):
        limited.admit("alice")
    clock.now += 0.1
    limited.admit("alice")


def test_requests_at_once(clock: Clock) -> None:
    limited = account(clock, KeyLimits(max_concurrency=2, requests_per_minute=100))
    first, _ = limited.admit(None), limited.admit(None)
    with pytest.raises(KeyRefusalError, match=r"This API key has 2 .* 2 at once") as caught:
        limited.admit(None)
    assert caught.value.reason == "max_concurrency"
    assert int(caught.value.reply.headers["Retry-After"]) >= 1
    assert limited.requests is not None
    assert limited.requests.remaining == 98
    first.leave()
    limited.admit(None)


def test_a_request_runs_until_nobody_holds_it(clock: Clock) -> None:
    limited = account(clock, KeyLimits(max_concurrency=1))
    admission = limited.admit(None)
    admission.hold()
    admission.leave()
    assert limited.running == 1
    admission.leave()
    assert limited.running == 0


def test_tokens_are_reserved_charged_and_given_back(clock: Clock) -> None:
    limited = account(clock, KeyLimits(tokens_per_minute=100))
    admission = limited.admit("a")
    with admission.reserving(prompt=10, answer=50):
        assert remaining(limited) == 40
    assert remaining(limited) == 40
    clock.now += 5
    admission.spend(20)
    assert remaining(limited) == 40
    admission.leave()
    assert remaining(limited) == 70
    clock.now += 55.0
    assert remaining(limited) == 80  # the prompt's are a minute old
    clock.now += 5.0
    assert remaining(limited) == 100
    assert limited.idle


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    limited = account(clock, KeyLimits(tokens_per_minute=100))
    admission = limited.admit("a")
    with pytest.raises(RuntimeError), admission.reserving(prompt=10, answer=50):
        raise RuntimeError
    assert remaining(limited) == 100
    with admission.reserving(prompt=90, answer=1):
        pass
    with pytest.raises(KeyRefusalError) as caught, limited.admit("b").reserving(prompt=9, answer=5):
        pass
    assert caught.value.reason == "tokens_per_minute"
    assert "'b' may use 100 tokens per minute" in caught.value.reply.message
    assert "90 are used and 1 set aside" in caught.value.reply.message
    assert "needs 10" in caught.value.reply.message
    admission.leave()
    with limited.admit("b").reserving(prompt=9, answer=5):
        assert remaining(limited) == 0  # what was left of the answer's
    with pytest.raises(KeyRefusalError) as caught:
        limited.admit("c")
    assert 1 <= int(caught.value.reply.headers["Retry-After"]) <= 60


def test_a_prompt_beyond_the_limit_is_told_so(clock: Clock) -> None:
    limited = account(clock, KeyLimits(tokens_per_minute=100))
    admission = limited.admit("a")
    with (
        pytest.raises(KeyRefusalError, match=r"needs 101.*can never be served") as caught,
        admission.reserving(prompt=100, answer=5),
    ):
        pass
    assert caught.value.reply.headers["x-should-retry"] == "false"


def test_retry_after_is_when_enough_is_free(clock: Clock) -> None:
    limited = account(clock, KeyLimits(tokens_per_minute=100))
    for tokens in (30, 30, 40):
        admission = limited.admit("a")
        admission.spend(tokens)
        admission.leave()
        clock.now += 10
    with pytest.raises(KeyRefusalError) as caught:
        limited.admit("a")
    assert caught.value.reply.headers["Retry-After"] == "30"
    clock.now += 30
    admission = limited.admit("a")
    with pytest.raises(KeyRefusalError) as caught, admission.reserving(prompt=35, answer=5):
        pass
    assert caught.value.reply.headers["Retry-After"] == "10"


def test_an_answer_beyond_its_reserve_is_charged_all_the_same(clock: Clock) -> None:
    limited = account(clock, KeyLimits(tokens_per_minute=100))
    admission = limited.admit("a")
    with admission.reserving(prompt=60, answer=1024):
        pass
    for _ in range(80):
        admission.spend(1)
    assert remaining(limited) == 0
    admission.leave()
    with pytest.raises(KeyRefusalError, match="140 are used"):
        limited.admit("a")


def test_an_account_outlives_a_change_of_the_keys(clock: Clock) -> None:
    accounts = KeyAccounts(clock)
    limits = KeyLimits(requests_per_minute=2)
    alice = replace(ApiKey.of("k1", "alice"), limits=limits)
    accounts.set_keys([alice, ApiKey.of("k2", "bob")])
    assert accounts.of(ApiKey.of("k2", "bob")) is None
    first = accounts.of(alice)
    assert first is not None
    running = first.admit("alice")

    renewed = replace(ApiKey.of("k3", "alice"), limits=KeyLimits(requests_per_minute=1))
    accounts.set_keys([renewed])
    assert accounts.of(renewed) is first
    with pytest.raises(KeyRefusalError):
        first.admit("alice")
    accounts.set_keys([])  # while the request runs
    assert first.limits == NO_LIMITS
    running.leave()
    accounts.set_keys([alice])
    assert accounts.of(alice) is first

    clock.now += 61
    accounts.set_keys([])
    accounts.set_keys([alice])
    assert accounts.of(alice) is not first


@pytest.mark.parametrize("seed", range(8))
def test_no_minute_has_more_tokens_than_its_limit(clock: Clock, seed: int) -> None:
    """As long as answers keep within what was set aside, however requests come and end."""
    chance = random.Random(seed)
    limit = 500
    limited = account(clock, KeyLimits(tokens_per_minute=limit, max_concurrency=6))
    running: list[tuple[Admission, int]] = []  # and the tokens that it may still generate
    charged: list[tuple[float, int]] = []
    refused = 0
    for _ in range(3000):
        clock.now += chance.choice((0.0, 0.02, 0.5, 3.0))
        if chance.random() < 0.4:
            prompt, answer = chance.randrange(1, 80), chance.randrange(1, 60)
            try:
                admission = limited.admit("a")
            except KeyRefusalError:
                refused += 1
                continue
            room = remaining(limited)
            try:
                with admission.reserving(prompt=prompt, answer=answer):
                    charged.append((clock.now, prompt))
            except KeyRefusalError:
                refused += 1
                admission.leave()
                continue
            running.append((admission, min(answer, room - prompt)))
        elif running:
            place = chance.randrange(len(running))
            admission, rest = running[place]
            tokens = min(rest, chance.randrange(1, 9))
            if tokens and chance.random() < 0.9:
                admission.spend(tokens)
                charged.append((clock.now, tokens))
                running[place] = admission, rest - tokens
            else:  # it ends, or its client hangs up
                admission.leave()
                del running[place]
        charged = [(at, tokens) for at, tokens in charged if clock.now - at < 60]
        assert sum(tokens for _, tokens in charged) <= limit
        assert limited.running == len(running) <= 6
    assert refused > 100
    for admission, _ in running:
        admission.leave()
    clock.now += 62
    assert remaining(limited) == limit
    assert limited.idle
