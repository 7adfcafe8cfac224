"""API keys: everything needs one, except the paths that are public on purpose."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ftllm.server.errors import ErrorReply, error_response

PUBLIC_PATHS = frozenset({"/health"})


class KeyRing:
    """Holds hashes of the accepted keys and compares in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = tuple(_hash(key) for key in keys)

    def accepts(self, key: str) -> bool:
        """Compares with every key, so the time tells nothing about which one matched."""
        offered = _hash(key)
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        return any(matches)


class KeyGate:
    """ASGI middleware: 401 for a request without an accepted key (Bearer or x-api-key)."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PUBLIC_PATHS:
            refusal = self._refusal(Headers(scope=scope))
            if refusal is not None:
                await error_response(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> ErrorReply | None:
        key = _offered_key(headers)
        challenge = {"WWW-Authenticate": "Bearer"}
        if not key:
            message = (
                "No API key was given. Send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
            )
            return ErrorReply(401, message, "missing_api_key", headers=challenge)
        if not self._keys.accepts(key):
            message = "The API key is not one of this server's keys."
            return ErrorReply(401, message, "invalid_api_key", headers=challenge)
        return None


def _offered_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
