"""API keys: everything needs one, except the paths that are public on purpose.

Keys of users open the API, the admin key opens everything. Without any key the server is open.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection, Iterable, Iterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey, key_digest
from ftllm.server.errors import ErrorReply, error_response
from ftllm.server.key_account import KeyAccounts
from ftllm.server.key_file import read_key_file
from ftllm.server.settings import ServerSettings

PUBLIC_PATHS = frozenset({"/health", "/live", "/ready"})
METRICS_PATH = "/metrics"  # public, too, unless it has keys of its own

server_log = logging.getLogger("ftllm.server")


class KeyRing:
    """Holds hashes of the accepted keys and compares in constant time."""

    def __init__(self, keys: Iterable[ApiKey | str]) -> None:
        """Raises `OptionError` when two entries disagree about one key, or two keys of one name
        about its limits."""
        self._keys: dict[bytes, ApiKey] = {}
        for key in keys:
            self._add(ApiKey.of(key) if isinstance(key, str) else key)
        named: dict[str, ApiKey] = {}
        for key in self._keys.values():
            first = named.setdefault(key.account, key)
            if first.limits != key.limits:
                raise OptionError(
                    f"Two API keys have the name {key.name!r} and different limits; keys of one"
                    " name share them, so give both the same, or two names."
                )

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._keys.values())

    def accepts(self, key: str) -> bool:
        return self.find(key) is not None

    def find(self, key: str) -> ApiKey | None:
        """Compares with every key, so the time tells nothing about which one matched."""
        offered = key_digest(key)
        matches = [known for known in self._keys if hmac.compare_digest(offered, known)]
        return self._keys[matches[0]] if matches else None

    def _add(self, key: ApiKey) -> None:
        """A key that is given again without a name says nothing new."""
        known = self._keys.get(key.digest)
        if known is None or known == ApiKey(known.digest):
            self._keys[key.digest] = key
        elif key not in (known, ApiKey(key.digest)):
            raise OptionError(
                f"One API key is given twice, as {known.name or 'a key without a name'} and as"
                f" {key.name or 'a key without a name'}; leave one of them out."
            )


class Keys:
    """The keys of a server. Those in files can be read again while it runs."""

    def __init__(self, settings: ServerSettings) -> None:
        """Raises `OptionError` when a file of keys is unusable."""
        self._fixed = settings.api_keys
        self._files = settings.api_key_files
        self.admin = KeyRing(settings.admin_api_keys)
        self.metrics = KeyRing(settings.metrics_keys)
        self.accounts = KeyAccounts()
        self.users = self._read()
        self.accounts.set_keys(self.users)

    @property
    def public_paths(self) -> frozenset[str]:
        """That need no key."""
        return PUBLIC_PATHS if self.metrics else PUBLIC_PATHS | {METRICS_PATH}

    def reload(self) -> None:
        """Reads the files again; if one is bad, all keys stay as they are, and the log says so."""
        try:
            self.users = self._read()
        except OptionError as error:
            server_log.error("the API keys stay as they are: %s", error)
            return
        self.accounts.set_keys(self.users)
        server_log.info("read the API keys again; %d are accepted", len(self.users))

    def _read(self) -> KeyRing:
        from_files = [key for path in self._files for key in read_key_file(path)]
        return KeyRing([*self._fixed, *from_files])


class KeyGate:
    """ASGI middleware: 401 for a request without an accepted key (Bearer or x-api-key), 403 for
    an admin path with the key of a user."""

    def __init__(self, app: ASGIApp, *, keys: Keys, admin_paths: Collection[str]) -> None:
        self._app = app
        self._keys = keys
        self._admin_paths = frozenset(admin_paths)
        self._public_paths = keys.public_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self._public_paths:
            refusal = self._refusal(scope)
            if refusal is not None:
                await error_response(refusal, path=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ErrorReply | None:
        users, admin = self._keys.users, self._keys.admin
        if scope["path"] == METRICS_PATH:
            users = self._keys.metrics
        for_admin = scope["path"] in self._admin_paths
        if not (users or (admin and for_admin)):
            return None
        key = _offered_key(Headers(scope=scope))
        challenge = {"WWW-Authenticate": "Bearer"}
        if not key:
            message = (
                "No API key was given. Send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
            )
            return ErrorReply(401, message, "missing_api_key", headers=challenge)
        user, is_admin = users.find(key), admin.accepts(key)
        if user is None and not is_admin:
            message = "The API key is not one of this server's keys."
            return ErrorReply(401, message, "invalid_api_key", headers=challenge)
        if for_admin and not is_admin:
            message = (
                f"{scope['path'][:200]} needs the admin key."
                if admin
                else f"{scope['path'][:200]} needs an admin key, and this server has none. Start it"
                " with --admin_api_key."
            )
            return ErrorReply(403, message, "admin_key_required")
        if user is not None:
            scope.setdefault("state", {})["api_key"] = user
        return None


def _offered_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get("x-api-key", "").strip()
