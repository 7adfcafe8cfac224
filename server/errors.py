"""Every refusal and failure as one value, and its OpenAI shape on the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ftllm.engine.request import FinishedEvent
from ftllm.errors import EngineStoppedError, QueueFullError, RequestError
from ftllm.server.json_text import encode_json

MAX_QUOTED_ERRORS = 10
MAX_QUOTED_INPUT = 200  # characters
MAX_MESSAGE = 2000  # characters; what a template or a schema compiler says may quote more

MESSAGES_PATH = "/v1/messages"  # below it, errors look as Anthropic's

_MESSAGES_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_CODE_OF_HTTP_STATUS = {404: "not_found", 405: "method_not_allowed"}
_CODE_OF_VALIDATION = {"missing": "missing_required_parameter", "json_invalid": "invalid_json"}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """What the client is told, independent of the wire format."""

    status: int
    message: str
    code: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        if self.status == 429:
            return "rate_limit_error"
        return "server_error" if self.status >= 500 else "invalid_request_error"

    def body(self) -> dict[str, object]:
        """OpenAI's error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def messages_body(self) -> dict[str, object]:
        """Anthropic's error object."""
        kind = "api_error" if self.status >= 500 else "invalid_request_error"
        kind = _MESSAGES_KINDS.get(self.status, kind)
        return {"type": "error", "error": {"type": kind, "message": self.message}}


class RefusedError(Exception):
    """Carries an `ErrorReply` through the call stack."""

    def __init__(self, reply: ErrorReply) -> None:
        super().__init__(reply.message)
        self.reply = reply


def expired_error(event: FinishedEvent) -> RefusedError:
    """For a request that waited too long in the engine's queue."""
    seconds = max(1, event.retry_after or 1)
    message = f"{event.error or 'The request waited too long.'} Try again in {seconds} s."
    return RefusedError(
        ErrorReply(503, message, "queue_timeout", headers={"Retry-After": str(seconds)})
    )


def request_timeout_error(seconds: float) -> RefusedError:
    """For a request whose answer was not complete in time."""
    message = (
        f"The answer was not complete {seconds:g} s after the request came, which is as long as one"
        " may take here. Ask for fewer tokens, or shorten the prompt."
    )
    return RefusedError(ErrorReply(504, message, "request_timeout"))


class EngineFailureError(Exception):
    """The engine ended a request with an error; the text is for the log, not for the client."""


class GrammarFailureError(Exception):
    """An answer could not follow its grammar to the end; the text is for the client."""


class ClientDisconnectedError(Exception):
    """The client hung up: nobody is left to answer."""


class SlowReaderError(Exception):
    """The client reads so slowly that its answer was ended."""

    def __init__(self) -> None:
        super().__init__(
            "The answer was ended, as it was read more slowly than it was made, and too much of it"
            " waited. Read faster, or ask without stream."
        )


ANSWERED_ERRORS: Final = (
    RefusedError,
    RequestError,
    QueueFullError,
    EngineStoppedError,
    GrammarFailureError,
    ValidationError,
    HTTPException,
)
"""Part of normal service. Anything else is a failure: logged, and a 500."""


def reply_for(error: Exception, *, request_id: str) -> ErrorReply:
    """The reply for any exception. Errors that are not about the request reveal only its id."""
    match error:
        case RefusedError():
            return error.reply
        case RequestError():
            return ErrorReply(400, _clipped(str(error)), error.code, error.param)
        case QueueFullError():
            retry = {"Retry-After": str(max(1, error.retry_after))}
            return ErrorReply(429, str(error), "queue_full", headers=retry)
        case EngineStoppedError():
            message = "The server is shutting down. Try again later."
            return ErrorReply(503, message, "engine_stopped", headers={"Retry-After": "5"})
        case GrammarFailureError():
            return ErrorReply(500, _clipped(f"The answer broke off: {error}"), "grammar_failed")
        case ValidationError():
            return _validation_reply(error)
        case HTTPException():
            code = _CODE_OF_HTTP_STATUS.get(error.status_code, "invalid_request")
            headers = dict(error.headers or {})
            return ErrorReply(error.status_code, str(error.detail), code, headers=headers)
        case ClientDisconnectedError():
            return ErrorReply(499, "The client closed the connection.", "client_disconnected")
        case SlowReaderError():
            return ErrorReply(408, str(error), "reader_too_slow")
    return ErrorReply(
        500,
        f"The server failed on this request. Its log has the details under {request_id}.",
        "internal_error",
    )


def is_expected(error: Exception) -> bool:
    """True for errors that need no traceback in the log."""
    return isinstance(error, (*ANSWERED_ERRORS, ClientDisconnectedError, SlowReaderError))


async def handle_error(request: Request, error: Exception) -> Response:
    """FastAPI's exception handler for `ANSWERED_ERRORS`."""
    reply = reply_for(error, request_id=request.state.request_id)
    return error_response(reply, path=request.url.path)


def is_messages_path(path: str) -> bool:
    return path == MESSAGES_PATH or path.startswith(f"{MESSAGES_PATH}/")


def error_response(reply: ErrorReply, *, path: str) -> Response:
    """In the shape that clients of `path` know."""
    return Response(
        encode_json(reply.messages_body() if is_messages_path(path) else reply.body()),
        status_code=reply.status,
        headers=dict(reply.headers),
        media_type="application/json",
    )


def param_path(location: Sequence[int | str]) -> str:
    """A pydantic location in OpenAI's spelling: `messages[0].role`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}" if path else part
    return path


def _validation_reply(error: ValidationError) -> ErrorReply:
    """One message for at most ten field errors; `param` is the first field."""
    details = error.errors(include_url=False, include_context=False)
    lines = []
    for detail in details[:MAX_QUOTED_ERRORS]:
        path = param_path(detail["loc"])
        line = f"{path}: {detail['msg']}" if path else detail["msg"]
        if detail["type"] not in ("missing", "json_invalid"):
            line += f" (got {_clip(detail['input'])})"
        lines.append(line)
    if len(details) > MAX_QUOTED_ERRORS:
        lines.append(f"and {len(details) - MAX_QUOTED_ERRORS} more")
    first = details[0]
    if first["type"].endswith("_type"):
        code = "invalid_type"
    else:
        code = _CODE_OF_VALIDATION.get(first["type"], "invalid_value")
    return ErrorReply(400, "; ".join(lines), code, param_path(first["loc"]) or None)


def _clipped(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"


def _clip(value: object) -> str:
    """`value` as JSON-like text of bounded length, without spelling out a huge input first."""
    if isinstance(value, str):
        value = value[: MAX_QUOTED_INPUT + 1]
    elif isinstance(value, list | dict):
        return f"{'an array' if isinstance(value, list) else 'an object'} of {len(value)}"
    text = encode_json(value) if isinstance(value, str | bool | None) else repr(value)
    return text if len(text) <= MAX_QUOTED_INPUT else text[: MAX_QUOTED_INPUT - 1] + "…"
