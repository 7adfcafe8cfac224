"""How large, how slow and how many requests may be, whoever sends them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ftllm.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Times are in seconds; 0 = for ever. Raises `OptionError` for what cannot be honoured."""

    max_header_bytes: int = 64 * 1024  # of a request's line and headers
    header_timeout: float = 15.0  # until they are there, from the first byte or the connection on
    body_timeout: float = 120.0  # from then on until the body is there
    send_timeout: float = 60.0  # for which a client may take nothing of what waits for it
    max_connections: int = 2048  # at once; 0 = any number
    queue_timeout: float = 0.0  # in the engine's queue, before the first step
    request_timeout: float = 0.0  # from the arrival to the end of the answer

    def __post_init__(self) -> None:
        for name in (
            "header_timeout",
            "body_timeout",
            "send_timeout",
            "queue_timeout",
            "request_timeout",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be 0 or more seconds.")
        if self.max_header_bytes < 1024:
            raise OptionError(
                f"max_header_bytes is {self.max_header_bytes}; it must be at least 1024."
            )
        if self.max_connections < 0:
            raise OptionError(f"max_connections is {self.max_connections}; it must be 0 or more.")


DEFAULT_LIMITS: Final = RequestLimits()
