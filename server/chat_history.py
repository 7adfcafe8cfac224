"""The messages of /v1/chat/completions, checked as OpenAI does, as a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import Message, Role, ToolCall
from ftllm.server.schemas.chat import ChatMessage
from ftllm.server.schemas.tools import CalledFunction

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",  # templates know OpenAI's older name
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # OpenAI's older way to give a result
}


def read_history(messages: Sequence[ChatMessage]) -> list[Message]:
    """Raises `RequestError` naming the place of the first message that does not fit."""
    reader = _HistoryReader()
    history = [reader.read(message, f"messages[{at}]") for at, message in enumerate(messages)]
    reader.expect_no_results(f"messages[{len(messages) - 1}]")
    return history


class _HistoryReader:
    """Follows which calls still wait for their results."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}  # ids of calls without a result, with the function's name
        self._known: dict[str, str] = {}  # the same of all calls of the last assistant's message
        self._asked_at = ""

    def read(self, message: ChatMessage, place: str) -> Message:
        if message.role in ("tool", "function"):
            return self._result(message, place)
        self.expect_no_results(place)
        self._known = {}
        _check_fields(message, place)
        calls = _calls(message, place)
        if message.content is None and message.role != "assistant":
            _missing(f"{place}.content", f"a {message.role} message needs content")
        if calls:
            self._known = {call.call_id: call.name for call in calls}
            self._open = dict(self._known)
            self._asked_at = place
        return Message(
            role=_ROLES[message.role],
            content=message.content,
            name=message.name,
            reasoning=message.reasoning_content or message.reasoning,
            tool_calls=calls,
        )

    def expect_no_results(self, place: str) -> None:
        """Every call must have been answered before anything else is said."""
        if not self._open:
            return
        ids = ", ".join(repr(call_id[:64]) for call_id in list(self._open)[:10])
        raise RequestError(
            f"{self._asked_at}.tool_calls: the calls {ids} have no result. An assistant message"
            " with tool calls must be followed by a tool message for each of them, with its"
            f" tool_call_id; up to {place} there is none.",
            param=f"{self._asked_at}.tool_calls",
        )

    def _result(self, message: ChatMessage, place: str) -> Message:
        if message.content is None:
            _missing(f"{place}.content", "a tool's result needs content, if only an empty string")
        if message.tool_calls:
            _refuse(f"{place}.tool_calls", "only assistant messages have tool calls")
        call_id = self._id_of_call(message, place)
        self._open.pop(call_id, None)
        return Message(
            role="tool",
            content=message.content,
            name=message.name or self._known[call_id],
            tool_call_id=call_id,
        )

    def _id_of_call(self, message: ChatMessage, place: str) -> str:
        if message.role == "function":
            if message.name is None:
                _missing(f"{place}.name", "a function message needs the function's name")
            call_id = next((i for i, name in self._open.items() if name == message.name), None)
            if call_id is None:
                _refuse(
                    f"{place}.name",
                    f"it answers the function {message.name[:64]!r}, which the assistant message"
                    " before it did not call",
                )
            return call_id
        if message.tool_call_id is None:
            _missing(f"{place}.tool_call_id", "a tool message needs the id of the call it answers")
        if message.tool_call_id not in self._known:
            _refuse(
                f"{place}.tool_call_id",
                f"{message.tool_call_id[:64]!r} is the id of no call in the assistant message"
                " before it; tool messages must follow the message whose tool_calls they answer",
            )
        return message.tool_call_id


def _check_fields(message: ChatMessage, place: str) -> None:
    if message.tool_call_id is not None:
        _refuse(f"{place}.tool_call_id", "only tool messages have it")
    if message.role == "assistant":
        return
    for name in ("tool_calls", "function_call", "reasoning_content", "reasoning"):
        if getattr(message, name):
            _refuse(f"{place}.{name}", "only assistant messages have it")


def _calls(message: ChatMessage, place: str) -> tuple[ToolCall, ...]:
    if message.function_call is not None:
        if message.tool_calls:
            _refuse(f"{place}.function_call", "give tool_calls or the older function_call")
        return (_call(f"function_call_{place}", message.function_call),)
    return tuple(_call(call.id, call.function) for call in message.tool_calls or ())


def _call(call_id: str, function: CalledFunction) -> ToolCall:
    return ToolCall(call_id=call_id, name=function.name, arguments=function.arguments)


def _missing(param: str, need: str) -> NoReturn:
    raise RequestError(
        f"{param} is missing: {need}.", param=param, code="missing_required_parameter"
    )


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
