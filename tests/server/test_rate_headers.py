from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from ftllm.server.api_key import KeyLimits
from ftllm.server.key_account import KeyAccount
from ftllm.server.rate_headers import EXPOSED_HEADERS, duration, rate_headers

NOON = datetime(2025, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.0201, "21ms"),
        (0.02, "20ms"),
        (0.9999, "1s"),
        (1.0, "1s"),
        (7.66, "7.66s"),
        (60.0, "1m0s"),
        (61.5, "1m1.5s"),
        (360.0, "6m0s"),
        (3600.0, "1h0m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def account(limits: KeyLimits) -> KeyAccount:
    account = KeyAccount(lambda: 100.0)
    account.limits = limits
    return account


def test_openai_headers() -> None:
    limited = account(KeyLimits(requests_per_minute=3, tokens_per_minute=50))
    limited.admit("a").spend(20)
    headers = dict(rate_headers(limited, path="/v1/chat/completions", now=NOON))
    assert headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "50",
        "x-ratelimit-remaining-tokens": "30",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert headers.keys() <= set(EXPOSED_HEADERS)


def test_anthropic_headers() -> None:
    limited = account(KeyLimits(requests_per_minute=3))
    limited.admit("a")
    headers = dict(rate_headers(limited, path="/v1/messages/count_tokens", now=NOON))
    assert headers == {
        "anthropic-ratelimit-requests-limit": "3",
        "anthropic-ratelimit-requests-remaining": "2",
        "anthropic-ratelimit-requests-reset": "2025-03-01T12:01:00Z",
    }
    assert headers.keys() <= set(EXPOSED_HEADERS)


def test_without_a_limit_a_minute_there_are_none() -> None:
    assert not list(rate_headers(account(KeyLimits(max_concurrency=1)), path="/", now=NOON))
