"""The ingress on Ray Serve: hands each request to a replica, and its answer to the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from ftllm.deploy.asgi_exchange import HttpHead, HttpRequest
from ftllm.deploy.prefix_index import block_keys
from ftllm.deploy.routing_text import routing_text

INLINE_BYTES: Final = 65536  # of a body whose text is read at once: less than a millisecond
ATTEMPTS: Final = 4  # with replicas that die before they begin to answer
# Of one connection, and what Ray's proxy writes itself, with the same value.
OWN_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"x-request-id"}
)


class ReplicaLostError(Exception):
    """The replica died in the middle of an answer."""


class Ingress:
    """What Ray Serve makes of this class is a deployment; see `ftllm.deploy.ray`."""

    def __init__(self, replicas: Any, *, max_body_bytes: int) -> None:
        """`replicas` is the handle of the deployment of `EngineReplica`."""
        self._answer = replicas.options(method_name="answer", stream=True)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request) -> Response:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._max_body_bytes:
                return refusal(413, f"The body has more than {self._max_body_bytes} bytes.")
        keys = await routing_keys(bytes(body))
        carried = HttpRequest(
            method=request.method,
            path=request.scope["path"].removeprefix(request.scope.get("root_path", "")) or "/",
            query=request.url.query.encode(),
            headers=tuple(request.headers.raw),
            client=(request.client.host, request.client.port) if request.client else None,
            body=bytes(body),
            routing_keys=keys,
        )
        for _ in range(ATTEMPTS):
            answer = self._answer.remote(carried)
            try:
                head = await anext(answer)
            except RayActorError:  # nothing has come of it, so another one may answer
                continue
            except BackPressureError:
                return refusal(429, "Every replica's queue is full; try again later.", retry=True)
            except BaseException:  # the client has hung up
                answer.cancel()
                raise
            return streamed(head, answer)
        message = f"{ATTEMPTS} replicas died before they answered; try again later."
        return refusal(503, message, retry=True)


def streamed(head: HttpHead, answer: Any) -> Response:
    """The answer to the client, as it comes. When the client hangs up, the replica hears of it."""

    async def body() -> AsyncGenerator[bytes, None]:
        complete = False
        try:
            async for piece in answer:
                yield piece
            complete = True
        except RayActorError as error:
            raise ReplicaLostError("A replica died in the middle of an answer.") from error
        finally:
            if not complete:
                answer.cancel()

    response = StreamingResponse(body(), status_code=head.status)
    response.raw_headers = [
        (name, value) for name, value in head.headers if name.lower() not in OWN_HEADERS
    ]
    return response


async def routing_keys(body: bytes) -> tuple[bytes, ...]:
    """Without holding up other requests where the body is long."""
    if len(body) < INLINE_BYTES:
        return tuple(block_keys(routing_text(body)))
    return tuple(await asyncio.to_thread(lambda: block_keys(routing_text(body))))


def refusal(status: int, message: str, *, retry: bool = False) -> Response:
    """In the shape of OpenAI's errors; with `retry`, the client is told when to come again."""
    kinds = {413: "invalid_request_error", 429: "rate_limit_error", 503: "server_error"}
    error = {"message": message, "type": kinds[status], "param": None, "code": None}
    headers = {"Retry-After": "1"} if retry else None
    return JSONResponse({"error": error}, status_code=status, headers=headers)
