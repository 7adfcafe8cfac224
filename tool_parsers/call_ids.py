"""Identifiers of tool calls."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable

IdSource = Callable[[], str]

_ALPHANUMERIC = string.ascii_letters + string.digits


def hex_id() -> str:
    """`call_` and 24 hexadecimal digits, as OpenAI's look."""
    return f"call_{secrets.token_hex(12)}"


def alphanumeric_id() -> str:
    """Nine letters and digits; templates of Mistral refuse anything else."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(9))
