"""The outermost layer of every request: its id, its log line, and the last line of defence."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftllm.errors import EngineStoppedError
from ftllm.server.errors import (
    ClientDisconnectedError,
    error_response,
    is_expected,
    is_messages_path,
    reply_for,
)
from ftllm.server.in_flight import InFlight
from ftllm.server.log_format import EXCEPTION, FIELDS, hidden_traceback
from ftllm.server.metrics.request_metrics import RequestMetrics
from ftllm.server.request_context import RequestContext, answering
from ftllm.server.request_id import choose_request_id
from ftllm.server.tracing import Tracer

access_log = logging.getLogger("ftllm.access")
server_log = logging.getLogger("ftllm.server")


class RequestEnvelope:
    """ASGI middleware. Echoes or creates X-Request-Id, writes one log line per request, counts
    those being answered (POST: a look at the server is no load), and turns an exception that nobody
    expected into a 500 that shows only the id."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hide_input: bool,
        in_flight: InFlight,
        metrics: RequestMetrics,
        tracer: Tracer | None,
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._metrics = metrics
        self._in_flight = in_flight
        self._hide_input = hide_input

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = choose_request_id(Headers(scope=scope).get("x-request-id"))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        context = RequestContext(time.monotonic(), state)
        if self._tracer is not None and scope["method"] == "POST":
            context.span = self._tracer.start(scope, request_id=request_id)
        with answering(context):
            await self._answer(scope, receive, send, context)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, context: RequestContext
    ) -> None:
        request_id = context.request_id
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                if is_messages_path(scope["path"]):
                    headers["request-id"] = request_id  # Anthropic's name of it
            await send(message)

        counted = self._in_flight.one() if scope["method"] == "POST" else nullcontext()
        try:
            with counted:
                await self._app(scope, receive, send_with_id)
        except (Exception, asyncio.CancelledError) as problem:
            # Only a server that stops cancels requests, and this task then ends here anyway.
            stopping = EngineStoppedError("The request was cancelled.")
            error = problem if isinstance(problem, Exception) else stopping
            if not is_expected(error):
                log_failure(error, request_id=request_id, hide_input=self._hide_input)
            if status:  # too late for another status: an unfinished body tells the client
                return
            reply = reply_for(error, request_id=request_id)
            response = error_response(reply, path=scope["path"])
            if not isinstance(error, ClientDisconnectedError):
                await response(scope, receive, send_with_id)
            status = response.status_code
        finally:
            if (status >= 400 or context.failed) and context.refusal is not None:
                self._metrics.reject(context.refusal)
            seconds = time.perf_counter() - started
            final = 499 if context.state.get("client_disconnected") else status
            if context.span is not None:
                context.span.end(
                    status=final,
                    prompt_tokens=context.prompt_tokens,
                    output_tokens=context.output_tokens,
                    key_name=context.key_name,
                )
            _log_access(scope, context, status=final, seconds=seconds)


def _log_access(scope: Scope, context: RequestContext, *, status: int, seconds: float) -> None:
    # raw_path is still percent-encoded, so a path cannot forge a log line.
    raw_path = scope.get("raw_path") or scope["path"].encode("unicode_escape")
    path, key_name = raw_path.decode("latin-1"), context.key_name
    fields: dict[str, object] = {
        "method": scope["method"],
        "path": path,
        "status": status,
        "duration_seconds": round(seconds, 6),
    }
    if key_name:
        fields["key_name"] = key_name
    if context.prompt_tokens:
        fields["prompt_tokens"] = context.prompt_tokens
        fields["output_tokens"] = context.output_tokens
    access_log.info(
        "%s %s %d %.0f ms %s%s",
        scope["method"],
        path,
        status,
        seconds * 1e3,
        context.request_id,
        f" key {key_name}" if key_name else "",
        extra={FIELDS: fields},
    )


def log_failure(error: Exception, *, request_id: str, hide_input: bool) -> None:
    """Writes a failure with its traceback; under `hide_input` without the exception's own text,
    which may quote the prompt, however the line is formatted."""
    if hide_input:
        fields = {EXCEPTION: hidden_traceback(error)}
        name = type(error).__name__
        server_log.error("request %s failed: %s", request_id, name, extra={FIELDS: fields})
    else:
        server_log.error("request %s failed: %s", request_id, error, exc_info=error)
