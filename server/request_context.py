"""What is known about the HTTP request that the current task answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(slots=True)
class RequestContext:
    arrived_at: float  # seconds of `time.monotonic()`
    state: Mapping[str, object]  # the ASGI scope's, which the layers below fill
    refusal: str | None = None  # why the engine did not take it, as a metric calls the reason

    @property
    def key_name(self) -> str | None:
        """Of the API key that opened the server, if it has one."""
        name = self.state.get("key_name")
        return name if isinstance(name, str) else None


_CURRENT: Final[ContextVar[RequestContext | None]] = ContextVar("ftllm_request", default=None)


def current_request() -> RequestContext | None:
    """None outside of a request."""
    return _CURRENT.get()


@contextmanager
def answering(context: RequestContext) -> Iterator[None]:
    """`context` is the current one while the block runs, and in tasks that it starts."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)
