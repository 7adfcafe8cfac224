"""The messages of /v1/messages as a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from ftllm.errors import RequestError
from ftllm.server.conversation import Message, ToolCall
from ftllm.server.history_builder import HistoryBuilder
from ftllm.server.schemas.messages import ContentBlock, CountTokensRequest, InputMessage, TextBlock

# Claude Code puts a line for Anthropic's billing in front of its instructions. It differs from
# request to request, so no prefix behind it would be found in the cache.
_BILLING_LINE = "x-anthropic-billing-header:"

_FIELDS = {  # that each type of block needs, and the roles that send it
    "text": (("text",), ("user", "assistant", "system")),
    "thinking": (("thinking",), ("assistant",)),
    "redacted_thinking": (("data",), ("assistant",)),
    "tool_use": (("id", "name", "input"), ("assistant",)),
    "tool_result": (("tool_use_id",), ("user",)),
}


def read_messages(body: CountTokensRequest) -> list[Message]:
    """Raises `RequestError` naming the place of the first block that does not fit."""
    builder = HistoryBuilder()
    for at, block in enumerate(body.system or ()):
        if not block.text.startswith(_BILLING_LINE):
            builder.say("system", block.text, f"system[{at}]")
    for at, message in enumerate(body.messages):
        _read_message(message, f"messages[{at}]", builder)
    return builder.messages("the end of messages")


def _read_message(message: InputMessage, place: str, builder: HistoryBuilder) -> None:
    blocks = list(enumerate(message.content))
    if not blocks:
        builder.say(message.role, "", place)
    # A turn of the user's gives the results of calls first, wherever they stand in it.
    blocks.sort(key=lambda numbered: numbered[1].type != "tool_result")
    for at, block in blocks:
        block_place = f"{place}.content[{at}]"
        _check(block, message.role, block_place)
        if block.type == "text":
            builder.say(message.role, block.text or "", block_place)
        elif block.type == "thinking":
            builder.think(block.thinking or "", block_place)
        elif block.type == "tool_use":
            call = ToolCall(
                call_id=block.id or "", name=block.name or "", arguments=block.input or {}
            )
            builder.call(call, block_place)
        elif block.type == "tool_result":
            text = _joined(block.content or ())
            if block.is_error:
                text = f"Error: {text}"
            builder.result(block.tool_use_id or "", text, block_place)


def _check(block: ContentBlock, role: str, place: str) -> None:
    needed, roles = _FIELDS[block.type]
    if role not in roles:
        _refuse(place, f"a block of type {block.type!r} cannot be in a message of the {role}")
    for name in needed:
        if getattr(block, name) is None:
            raise RequestError(
                f"{place}.{name} is missing: a block of type {block.type!r} needs it.",
                param=f"{place}.{name}",
                code="missing_required_parameter",
            )


def _joined(blocks: Sequence[TextBlock]) -> str:
    return "\n".join(block.text for block in blocks)


def _refuse(param: str, why: str) -> NoReturn:
    raise RequestError(f"{param}: {why}.", param=param)
