"""How a log line looks: text for people, or JSON for machines; always with its request's id."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Final

FIELDS: Final = "fields"  # of a record: further members of its JSON object
EXCEPTION: Final = "exception"  # the one of these that text shows, too
TRACE_IDS: Final = "trace_ids"
_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _HidingFormatter(logging.Formatter):
    """Under `hide_input` a traceback is written without the texts of its exceptions, which may
    quote a prompt."""

    def __init__(self, *, hide_input: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._hide_input = hide_input

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # what another handler's formatter may have left hides nothing
        return super().format(record)

    def message_of(self, record: logging.LogRecord) -> str:
        """asyncio writes a failed task after its first line, and the exception's text with it."""
        message = record.getMessage()
        if self._hide_input and record.name == "asyncio":
            return message.partition("\n")[0]
        return message

    def formatException(self, ei: _ExcInfo) -> str:
        error = ei[1]
        if not self._hide_input or error is None:
            return super().formatException(ei)
        return hidden_traceback(error)


class TextFormatter(_HidingFormatter):
    """A line with the id at its end, unless the message has it already."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = self.message_of(record)
        line = super().formatMessage(record)
        request_id = getattr(record, "request_id", None)
        if request_id is not None and request_id not in line:
            line = f"{line} [{request_id}]"
        exception = _fields(record).get(EXCEPTION)
        return line if exception is None else f"{line}\n{exception}"


class JsonFormatter(_HidingFormatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        body: dict[str, Any] = {
            "time": _rfc3339(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
        }
        if (request_id := getattr(record, "request_id", None)) is not None:
            body["request_id"] = request_id
            body.update(getattr(record, TRACE_IDS, None) or {})
        body.update(_fields(record))
        if record.exc_info:
            body[EXCEPTION] = self.formatException(record.exc_info)
        if record.stack_info:
            body["stack"] = self.formatStack(record.stack_info)
        return json.dumps(body, ensure_ascii=False, default=str)


def logs_json() -> bool:
    """Whether this process's log has been set up as JSON."""
    return any(isinstance(each.formatter, JsonFormatter) for each in logging.getLogger().handlers)


def _rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def hidden_traceback(error: BaseException) -> str:
    """Types and frames, those of its causes before it, as Python has it; no texts."""
    return "\n".join(_frames_of(error))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields = getattr(record, FIELDS, None)
    return fields if isinstance(fields, Mapping) else {}


def _frames_of(error: BaseException) -> Iterator[str]:
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    for each in reversed(chain):
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(each.__traceback__)).rstrip("\n")
        yield f"{type(each).__name__}: (hidden)"
