"""One request to an ASGI app in this process, whose answer is taken piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message

MAX_AHEAD: Final = 64  # pieces that the app may be ahead of who takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it is sent from one process to another."""

    method: str
    path: str
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    client: tuple[str, int] | None = None
    body: bytes = b""
    routing_keys: tuple[bytes, ...] = ()  # of the prompt's blocks, for the router


@dataclass(frozen=True, slots=True)
class HttpHead:
    """How an answer begins."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]


class AsgiExchange:
    """Runs `app` for `request`."""

    def __init__(self, app: ASGIApp, request: HttpRequest) -> None:
        self._app = app
        self._request = request
        self._body_read = False
        self._hung_up = asyncio.Event()
        self._pieces: asyncio.Queue[HttpHead | bytes | None] = asyncio.Queue(MAX_AHEAD)

    async def pieces(self) -> AsyncGenerator[HttpHead | bytes, None]:
        """The head, then the body's pieces. Who stops taking them has hung up, and the app hears
        of it before this ends."""
        task = asyncio.create_task(self._run())
        try:
            while (piece := await self._pieces.get()) is not None:
                yield piece
        finally:
            self._hung_up.set()
            while not self._pieces.empty():  # the app may wait for room
                self._pieces.get_nowait()
            await asyncio.shield(task)

    async def _run(self) -> None:
        request = self._request
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "path": request.path,
            "raw_path": request.path.encode("utf-8", "surrogatepass"),
            "query_string": request.query,
            "root_path": "",
            "headers": list(request.headers),
            "client": request.client,
            "server": None,
        }
        try:
            await self._app(scope, self._receive, self._send)
        finally:
            await self._put(None)

    async def _receive(self) -> Message:
        if not self._body_read:
            self._body_read = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._hung_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = tuple((bytes(name), bytes(value)) for name, value in message["headers"])
            await self._put(HttpHead(message["status"], headers))
        elif message["type"] == "http.response.body" and message.get("body"):
            await self._put(bytes(message["body"]))

    async def _put(self, piece: HttpHead | bytes | None) -> None:
        """What is for nobody is dropped."""
        if not self._hung_up.is_set():
            await self._pieces.put(piece)
