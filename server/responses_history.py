"""The items of /v1/responses as a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import Message, ToolCall
from ftllm.server.history_builder import HistoryBuilder
from ftllm.server.schemas.responses import InputItem, TextPart

_NEEDS = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "reasoning": (),
}


def read_items(
    instructions: str | None, earlier: Sequence[InputItem], items: Sequence[InputItem]
) -> list[Message]:
    """`earlier` are those of the response that this one continues. Raises `RequestError` naming the
    place of the first item that does not fit."""
    builder = HistoryBuilder()
    if instructions:
        builder.say("system", instructions, "instructions")
    for item in earlier:
        _read_item(item, "previous_response_id", builder)
    for at, item in enumerate(items):
        _read_item(item, f"input[{at}]", builder)
    messages = builder.messages("the end of input")
    if not messages:
        raise RequestError(
            "input is missing: give a text or items.",
            param="input",
            code="missing_required_parameter",
        )
    return messages


def _read_item(item: InputItem, place: str, builder: HistoryBuilder) -> None:
    for name in _NEEDS[item.type]:
        if getattr(item, name) is None:
            raise RequestError(
                f"{place}.{name} is missing: an item of type {item.type!r} needs it.",
                param=f"{place}.{name}",
                code="missing_required_parameter",
            )
    if item.type == "message" and item.role is not None:
        role = "system" if item.role == "developer" else item.role
        builder.say(role, _joined(item.content), place)
    elif item.type == "reasoning":
        text = _joined(item.content) or _joined(item.summary)
        if text:
            builder.think(text, place)
    elif item.type == "function_call_output":
        builder.result(item.call_id or "", _joined(item.output), place)
    else:
        if item.namespace:
            _refuse(f"{place}.namespace", "functions have no namespaces here")
        call = ToolCall(
            call_id=item.call_id or "", name=item.name or "", arguments=item.arguments or "{}"
        )
        builder.call(call, place)


def _joined(parts: Sequence[TextPart] | None) -> str:
    return "\n".join(part.content for part in parts or ())


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
