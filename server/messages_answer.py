"""The answers of /v1/messages, whole and streamed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Final

from pydantic_core import from_json

from ftllm.server.answer_blocks import AnswerBlocks, Block, BlockEvent
from ftllm.server.errors import ErrorReply
from ftllm.server.generation import Usage
from ftllm.server.json_text import encode_json
from ftllm.server.sse import StreamForm
from ftllm.server.turn_answer import TurnAnswer

_TYPES = {"text": "text", "thinking": "thinking", "call": "tool_use"}
_DELTAS = {  # type of a delta, and its member
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "call": ("input_json_delta", "partial_json"),
}


class MessagesAnswer:
    """Writes one answer in Anthropic's shapes. `fills_context`: it ends with the context, and not
    where max_tokens would have it."""

    def __init__(self, *, answer_id: str, model: str, fills_context: bool) -> None:
        self._answer_id = answer_id
        self._model = model
        self._fills_context = fills_context

    def body(self, blocks: AnswerBlocks, usage: Usage) -> dict[str, object]:
        content = [self._whole_block(block) for block in blocks.blocks]
        return self._message(content, blocks, _usage(usage))

    async def frames(self, answer: TurnAnswer) -> AsyncIterator[bytes]:
        blocks = AnswerBlocks()
        # How much of the prompt was cached is known in the end.
        message = self._message([], blocks, _usage(answer.usage))
        start: dict[str, object] = {"type": "message_start", "message": message}
        yield (_frame("message_start", start) + PING).encode()
        while deltas := await answer.next_deltas():
            frames = ""
            for delta in deltas:
                for event in blocks.read(delta):
                    frames += _block_frame(event)
            if frames:
                yield frames.encode()
        end: dict[str, object] = {
            "type": "message_delta",
            "delta": {
                "stop_reason": self._stop_reason(blocks),
                "stop_sequence": self._stop_sequence(blocks),
            },
            "usage": _usage(answer.usage),
        }
        yield (
            _frame("message_delta", end) + _frame("message_stop", {"type": "message_stop"})
        ).encode()

    def _message(
        self, content: list[dict[str, object]], blocks: AnswerBlocks, usage: dict[str, object]
    ) -> dict[str, object]:
        return {
            "id": self._answer_id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": self._stop_reason(blocks),
            "stop_sequence": self._stop_sequence(blocks),
            "usage": usage,
        }

    def _stop_reason(self, blocks: AnswerBlocks) -> str | None:
        """None while the answer goes on."""
        if blocks.finish_reason == "length":
            return "model_context_window_exceeded" if self._fills_context else "max_tokens"
        if blocks.finish_reason == "tool_calls":
            return "tool_use"
        if blocks.stop_string is not None:
            return "stop_sequence"
        return "end_turn" if blocks.finish_reason else None

    def _stop_sequence(self, blocks: AnswerBlocks) -> str | None:
        is_stopped = self._stop_reason(blocks) == "stop_sequence"
        return blocks.stop_string if is_stopped else None

    def _whole_block(self, block: Block) -> dict[str, object]:
        if block.kind == "thinking":
            return {"type": "thinking", "thinking": block.text, "signature": _signature(block)}
        if block.kind == "text":
            return {"type": "text", "text": block.text}
        return {**_empty_block(block), "input": _arguments(block.text)}


def _block_frame(event: BlockEvent) -> str:
    block = event.block
    if event.step == "grow":
        kind, member = _DELTAS[block.kind]
        return (
            'event: content_block_delta\ndata: {"type":"content_block_delta","index":'
            f'{block.index},"delta":{{"type":"{kind}","{member}":{encode_json(event.text)}}}}}\n\n'
        )
    if event.step == "start":
        start: dict[str, object] = {
            "type": "content_block_start",
            "index": block.index,
            "content_block": _empty_block(block),
        }
        return _frame("content_block_start", start)
    signed = ""
    if block.kind == "thinking":
        delta = {"type": "signature_delta", "signature": _signature(block)}
        body: dict[str, object] = {"type": "content_block_delta", "index": block.index}
        body["delta"] = delta
        signed = _frame("content_block_delta", body)
    return signed + _frame(
        "content_block_stop", {"type": "content_block_stop", "index": block.index}
    )


def _empty_block(block: Block) -> dict[str, object]:
    if block.kind == "call":
        return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    return {"type": "text", "text": ""}


def _signature(block: Block) -> str:
    """Clients send thinking back only with a signature. Nothing depends on it here."""
    return hashlib.sha256(block.text.encode("utf-8", "surrogatepass")).hexdigest()


def _arguments(text: str) -> dict[str, object]:
    """Of a call that was cut off, what there is of them."""
    try:
        value = from_json(text or "{}", allow_partial="trailing-strings")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _usage(usage: Usage) -> dict[str, object]:
    """Tokens read from the cache are no input tokens in Anthropic's count."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _frame(event: str, body: dict[str, object]) -> str:
    return f"event: {event}\ndata: {encode_json(body)}\n\n"


def _error_frame(reply: ErrorReply) -> bytes:
    return _frame("error", reply.messages_body()).encode()


PING: Final = _frame("ping", {"type": "ping"})
MESSAGES_STREAM: Final = StreamForm(error=_error_frame, end=b"", silence=PING.encode())
