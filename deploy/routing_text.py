"""What of a request decides which cached prefix fits it."""

from __future__ import annotations

import json
from typing import Final

# In the order in which they come to stand in a prompt. A salt keeps caches apart, so it is first.
FIELDS: Final = (
    "cache_salt",
    "tools",
    "system",
    "instructions",
    "messages",
    "input",
    "prompt",
)


def routing_text(body: bytes) -> str:
    """A text that grows at its end when a conversation goes on; "" where a body has none.

    It need not be the prompt: equal beginnings of it stand for equal beginnings of prompts.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(fields, dict):
        return ""
    return "".join(
        json.dumps(fields[name], ensure_ascii=False) for name in FIELDS if fields.get(name)
    )
