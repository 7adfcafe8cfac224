"""Reads a request's body: bounded, strict, and straight into its schema."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from ftllm.server.errors import ClientDisconnectedError, ErrorReply, RefusedError
from ftllm.server.schemas.base import Schema, refuse_unknown_fields

# A larger body is parsed beside the event loop; below, that takes a millisecond at most.
INLINE_BYTES = 64 * 1024

Body = TypeVar("Body", bound=Schema)


class BodyReader:
    """Parses JSON bodies under one size limit."""

    def __init__(self, *, max_bytes: int, timeout: float, lenient: bool) -> None:
        self._max_bytes = max_bytes
        self._timeout = timeout  # seconds until the body must be there; 0 = for ever
        self._lenient = lenient

    async def read(self, request: Request, schema: type[Body]) -> Body:
        """The body as `schema`. Raises `RefusedError` (408, 413, 415), pydantic's
        `ValidationError`, `RequestError` for an unknown field, or `ClientDisconnectedError`."""
        refuse_foreign_form(request)
        try:
            body = await asyncio.wait_for(self._bytes(request), self._timeout or None)
        except asyncio.TimeoutError as error:
            raise self._too_slow() from error
        if len(body) > INLINE_BYTES:
            parsed = await asyncio.to_thread(schema.model_validate_json, body)
        else:
            parsed = schema.model_validate_json(body)
        if not self._lenient:
            refuse_unknown_fields(parsed)
        return parsed

    async def _bytes(self, request: Request) -> bytes:
        """Stops at the limit: neither a stated nor an actual length beyond it is read."""
        stated = request.headers.get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > self._max_bytes:
            raise self._too_large()
        chunks = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large()
                chunks.append(chunk)
        except ClientDisconnect as error:
            raise ClientDisconnectedError("The client hung up while sending.") from error
        return b"".join(chunks)

    def _too_slow(self) -> RefusedError:
        message = (
            f"The request body was not complete after {self._timeout:g} s, this server's limit."
            " Send it faster, or a shorter one."
        )
        headers = {"Connection": "close"}
        return RefusedError(ErrorReply(408, message, "body_timeout", headers=headers))

    def _too_large(self) -> RefusedError:
        return RefusedError(
            ErrorReply(
                413,
                f"The request body is larger than {self._max_bytes} bytes, this server's limit.",
                "request_too_large",
            )
        )


def refuse_foreign_form(request: Request) -> None:
    """A web page can make a browser send a form or plain text anywhere without asking first, but
    not JSON; so from a browser (it sends Origin) only JSON is taken."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    if "origin" in request.headers and not is_json:
        raise RefusedError(
            ErrorReply(
                415,
                f"The content type is {media_type[:100]!r}; send application/json.",
                "unsupported_media_type",
            )
        )
