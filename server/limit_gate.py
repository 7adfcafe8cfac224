"""Holds API keys to their limits: refuses a request before any of it is read."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timezone

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftllm.server.api_key import ApiKey
from ftllm.server.errors import error_response
from ftllm.server.key_account import KeyAccount, KeyAccounts, KeyRefusalError
from ftllm.server.rate_headers import rate_headers
from ftllm.server.request_context import current_request


class LimitGate:
    """ASGI middleware behind the `KeyGate`. Counts what is work; every answer to a limited key
    tells what is left, as it is when the answer begins."""

    def __init__(
        self, app: ASGIApp, *, accounts: KeyAccounts, admin_paths: Collection[str]
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._admin_paths = frozenset(admin_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope.get("state", {}).get("api_key") if scope["type"] == "http" else None
        account = self._accounts.of(key) if isinstance(key, ApiKey) else None
        if account is None or key is None:
            await self._app(scope, receive, send)
            return
        telling = _telling(account, scope["path"], send)
        if not self._is_work(scope):
            await self._app(scope, receive, telling)
            return
        try:
            admission = account.admit(key.name)
        except KeyRefusalError as refusal:
            if (context := current_request()) is not None:
                context.refusal = refusal.reason
            await error_response(refusal.reply, path=scope["path"])(scope, receive, telling)
            return
        scope["state"]["admission"] = admission
        try:
            await self._app(scope, receive, telling)
        finally:
            admission.leave()

    def _is_work(self, scope: Scope) -> bool:
        path = scope["path"]
        is_cancel = path.startswith("/v1/responses/") and path.endswith("/cancel")
        return scope["method"] == "POST" and path not in self._admin_paths and not is_cancel


def _telling(account: KeyAccount, path: str, send: Send) -> Send:
    async def send_with_limits(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in rate_headers(account, path=path, now=datetime.now(timezone.utc)):
                headers[name] = value
        await send(message)

    return send_with_limits
