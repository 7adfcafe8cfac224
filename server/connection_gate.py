"""Refuses requests on connections that are too many, so that the others go on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from ftllm.server.errors import ErrorReply, error_response
from ftllm.server.request_context import current_request

CROWDED: Final = "crowded"
"""Of the ASGI scope's state: the connection is one too many. The protocol sets it."""


class ConnectionGate:
    """ASGI middleware: 503 on such a connection, except for probes; then it is closed."""

    def __init__(self, app: ASGIApp, *, limit: int, public_paths: Collection[str]) -> None:
        self._app = app
        self._limit = limit
        self._public_paths = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_crowded = scope["type"] == "http" and scope.get("state", {}).get(CROWDED)
        if not is_crowded or scope["path"] in self._public_paths:
            await self._app(scope, receive, send)
            return
        if (context := current_request()) is not None:
            context.refusal = "too_many_connections"
        reply = ErrorReply(
            503,
            f"The server has {self._limit} connections, and takes no more. Close some, or try again"
            " in 1 s.",
            "too_many_connections",
            headers={"Retry-After": "1", "Connection": "close"},
        )
        await error_response(reply, path=scope["path"])(scope, receive, send)
