"""Headers that tell a client how much of its limits is left."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Final

from ftllm.server.errors import is_messages_path
from ftllm.server.key_account import KeyAccount

OPENAI_PREFIX: Final = "x-ratelimit"
ANTHROPIC_PREFIX: Final = "anthropic-ratelimit"
_PARTS: Final = ("limit", "remaining", "reset")
_UNITS: Final = ("requests", "tokens")

EXPOSED_HEADERS: Final = (
    *(f"{OPENAI_PREFIX}-{part}-{unit}" for unit in _UNITS for part in _PARTS),
    *(f"{ANTHROPIC_PREFIX}-{unit}-{part}" for unit in _UNITS for part in _PARTS),
)
"""All that there are, for browsers."""


def rate_headers(account: KeyAccount, *, path: str, now: datetime) -> Iterator[tuple[str, str]]:
    """OpenAI's, and below /v1/messages Anthropic's; for limits that the account does not have there
    are none."""
    for unit, allowance in zip(_UNITS, (account.requests, account.tokens), strict=True):
        if allowance is None:
            continue
        counts = str(allowance.limit), str(allowance.remaining)
        if is_messages_path(path):
            values = (*counts, rfc3339(now + timedelta(seconds=math.ceil(allowance.reset))))
            names = [f"{ANTHROPIC_PREFIX}-{unit}-{part}" for part in _PARTS]
        else:
            values = (*counts, duration(allowance.reset))
            names = [f"{OPENAI_PREFIX}-{part}-{unit}" for part in _PARTS]
        yield from zip(names, values, strict=True)


def duration(seconds: float) -> str:
    """In OpenAI's notation: 20ms, 7.66s, 6m0s, 1h0m0s."""
    milliseconds = math.ceil(seconds * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
