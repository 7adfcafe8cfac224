"""Server-sent events: a response that streams frames, and notices hang-ups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ftllm.server.envelope import log_failure
from ftllm.server.errors import ClientDisconnectedError, ErrorReply, is_expected, reply_for
from ftllm.server.json_text import encode_json
from ftllm.server.request_context import current_request

DONE: Final = b"data: [DONE]\n\n"
COMMENT: Final = b": keep-alive\n\n"


def _error_frame(reply: ErrorReply) -> bytes:
    return f"event: error\ndata: {encode_json(reply.body())}\n\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamForm:
    """What an endpoint's streams have beside their frames; by default, OpenAI's usual form."""

    error: Callable[[ErrorReply], bytes] = _error_frame  # the last frame of one that failed
    end: bytes = DONE
    silence: bytes = COMMENT  # sent when nothing else has been for long


OPENAI_STREAM: Final = StreamForm()


@asynccontextmanager
async def on_disconnect(receive: Receive, close: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `close` as soon as the client hangs up while the block runs. The request's body must
    have been read: what `receive` gives next is the disconnect."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        close()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


class EventStream(Response):
    """Sends `frames` (ready-made `data: …` blocks). Calls `close` when the client hangs up, and
    in any case at the end. An error after the start becomes an event before the stream's end."""

    media_type = "text/event-stream"

    def __init__(
        self,
        frames: AsyncIterator[bytes],
        close: Callable[[], None],
        *,
        form: StreamForm,
        hide_input: bool,
        keep_alive: float,
    ) -> None:
        self._form = form
        self._keep_alive = keep_alive  # seconds; 0 = off
        self._sent_at = 0.0  # on the event loop's clock
        self.status_code = 200
        self.background = None
        self._frames = frames
        self._close = close
        self._hide_input = hide_input
        # Proxies must neither cache nor collect the events.
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with on_disconnect(receive, self._close):
                await self._send(scope, send)
        except (ClientDisconnectedError, OSError):
            scope["state"]["client_disconnected"] = True
        finally:
            self._close()

    async def _send(self, scope: Scope, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async with self._comments_in_silence(send):
                clock = asyncio.get_running_loop().time
                async for frame in self._frames:
                    self._sent_at = clock()
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
        except (ClientDisconnectedError, OSError):
            raise
        except Exception as error:
            if (context := current_request()) is not None:
                context.failed = True
            frame = self._failure_frame(error, request_id=scope["state"]["request_id"])
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        await send({"type": "http.response.body", "body": self._form.end})

    @asynccontextmanager
    async def _comments_in_silence(self, send: Send) -> AsyncIterator[None]:
        """A sign of life after every `keep_alive` seconds without a frame, while the block runs: a
        long prompt or queue must not look like a dead connection to clients and proxies."""
        if not self._keep_alive:
            yield
            return
        clock = asyncio.get_running_loop().time
        self._sent_at = clock()

        body = self._form.silence

        async def comment() -> None:
            while True:
                await asyncio.sleep(self._sent_at + self._keep_alive - clock())
                if clock() - self._sent_at < self._keep_alive:
                    continue
                self._sent_at = clock()
                with suppress(OSError):  # the frames notice it, too
                    await send({"type": "http.response.body", "body": body, "more_body": True})

        task = asyncio.create_task(comment())
        try:
            yield
        finally:
            task.cancel()

    def _failure_frame(self, error: Exception, *, request_id: str) -> bytes:
        if not is_expected(error):
            log_failure(error, request_id=request_id, hide_input=self._hide_input)
        return self._form.error(reply_for(error, request_id=request_id))
