"""What is known about the HTTP request that the current task answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ftllm.server.api_key import ApiKey
from ftllm.server.key_account import Admission

if TYPE_CHECKING:
    from ftllm.server.tracing import RequestSpan


@dataclass(slots=True)
class RequestContext:
    arrived_at: float  # seconds of `time.monotonic()`
    state: Mapping[str, object]  # the ASGI scope's, which the layers below fill
    refusal: str | None = None  # why it was turned away, as a metric calls the reason
    failed: bool = False  # its answer had begun before it ended with an error
    span: RequestSpan | None = None  # None: the server does not trace
    prompt_tokens: int = 0  # of what was submitted for it; a prompt counts once
    output_tokens: int = 0  # that came of it so far

    _counted: Sequence[int] = field(default=(), init=False, repr=False)  # the last prompt

    @property
    def request_id(self) -> str:
        return str(self.state["request_id"])

    def count_prompt(self, ids: Sequence[int]) -> None:
        """Of a sequence that was submitted. Choices of a prompt follow each other and share it."""
        if ids is not self._counted:
            self._counted = ids
            self.prompt_tokens += len(ids)

    @property
    def api_key(self) -> ApiKey | None:
        """That opened the server; None for the admin key, and where none is needed."""
        key = self.state.get("api_key")
        return key if isinstance(key, ApiKey) else None

    @property
    def key_name(self) -> str | None:
        return None if self.api_key is None else self.api_key.name

    @property
    def admission(self) -> Admission | None:
        """Of a request whose key has limits."""
        admission = self.state.get("admission")
        return admission if isinstance(admission, Admission) else None


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
