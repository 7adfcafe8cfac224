"""The answers of /v1/responses as objects: the response and the items of its output."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.answer_blocks import AnswerBlocks, Block
from ftllm.server.answer_frames import AnswerHead
from ftllm.server.errors import ErrorReply
from ftllm.server.generation import Usage
from ftllm.server.logprob_json import chat_logprobs
from ftllm.server.model import ServedModel
from ftllm.server.schemas.responses import ResponsesRequest, ResponseTool

_PREFIXES = {"thinking": "rs", "text": "msg", "call": "fc"}


class ResponsesAnswer:
    """Writes one response in OpenAI's shapes."""

    def __init__(
        self,
        head: AnswerHead,
        body: ResponsesRequest,
        model: ServedModel,
        *,
        stores: bool,
        loose_tools: Collection[str],
    ) -> None:
        """`loose_tools` are the names of those whose calls need not fit their schema."""
        self._head = head
        self._tokenizer = model.tokenizer
        self._item_id = head.answer_id.partition("_")[2]
        self._fields = _echoed(body, model, stores=stores, loose_tools=loose_tools)

    @property
    def response_id(self) -> str:
        return self._head.answer_id

    def running(self) -> dict[str, object]:
        return self._response("in_progress", [], None)

    def ended(self, blocks: AnswerBlocks, usage: Usage) -> dict[str, object]:
        """The whole response."""
        status = "incomplete" if blocks.finish_reason == "length" else "completed"
        return self._response(status, self._output(blocks), usage)

    def cancelled(self, blocks: AnswerBlocks, usage: Usage) -> dict[str, object]:
        return self._response("cancelled", self._output(blocks), usage)

    def failed(self, reply: ErrorReply) -> dict[str, object]:
        response = self._response("failed", [], None)
        response["error"] = {"code": "server_error", "message": reply.message}
        return response

    def item_id(self, block: Block) -> str:
        return f"{_PREFIXES[block.kind]}_{self._item_id}{block.index:04x}"

    def item(self, block: Block, status: str) -> dict[str, object]:
        """One item of the output; in progress, without its content."""
        content = [] if status == "in_progress" else [self.part(block)]
        fields: dict[str, object] = {"id": self.item_id(block), "status": status}
        if block.kind == "text":
            return {**fields, "type": "message", "role": "assistant", "content": content}
        if block.kind == "thinking":
            fields |= {"type": "reasoning", "summary": [], "content": content}
            return {**fields, "encrypted_content": None}
        return {
            **fields,
            "type": "function_call",
            "call_id": block.call_id,
            "name": block.name,
            "arguments": "" if status == "in_progress" else block.text,
        }

    def part(self, block: Block, *, empty: bool = False) -> dict[str, object]:
        text = "" if empty else block.text
        if block.kind == "thinking":
            return {"type": "reasoning_text", "text": text}
        logprobs = [] if empty else self.logprobs(block.logprobs)
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}

    def logprobs(self, entries: Sequence[PlacedLogprob]) -> object:
        return chat_logprobs(entries, self._tokenizer)["content"] if entries else []

    def ending(self, block: Block, blocks: AnswerBlocks) -> str:
        """The status of a block that has ended. Only the last can have been cut off."""
        is_cut = blocks.finish_reason in ("length", "") and block is blocks.blocks[-1]
        return "incomplete" if is_cut and blocks.is_over else "completed"

    def _output(self, blocks: AnswerBlocks) -> list[dict[str, object]]:
        return [self.item(block, self.ending(block, blocks)) for block in blocks.blocks]

    def _response(
        self, status: str, output: list[dict[str, object]], usage: Usage | None
    ) -> dict[str, object]:
        is_cut = status == "incomplete"
        return {
            "id": self._head.answer_id,
            "object": "response",
            "created_at": self._head.created,
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "model": self._head.model,
            "output": output,
            "usage": None if usage is None else _usage(usage),
            **self._fields,
        }


def _echoed(
    body: ResponsesRequest, model: ServedModel, *, stores: bool, loose_tools: Collection[str]
) -> dict[str, object]:
    """What the response says of its request."""
    reasoning, text = body.reasoning, body.text
    format = text.format if text is not None else None
    defaults = model.defaults
    return {
        "background": bool(body.background),
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "prompt_cache_key": body.prompt_cache_key,
        "reasoning": {
            "effort": reasoning.effort if reasoning is not None else None,
            "summary": reasoning.summary if reasoning is not None else None,
        },
        "safety_identifier": body.safety_identifier,
        "service_tier": "default",
        "store": stores,
        "temperature": _first(body.temperature, defaults.temperature, 1.0),
        "text": {
            "format": {"type": "text"}
            if format is None
            else format.model_dump(by_alias=True, exclude_unset=True),
            "verbosity": "medium",
        },
        "tool_choice": body.tool_choice or "auto",
        "tools": [_tool(tool, strict=tool.name not in loose_tools) for tool in body.tools or ()],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": _first(body.top_p, defaults.top_p, 1.0),
        "truncation": body.truncation or "disabled",
        "user": body.user,
    }


def _tool(tool: ResponseTool, *, strict: bool) -> dict[str, object]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": strict if tool.strict is None else tool.strict,
    }


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _first(given: float | None, recommended: float | None, neutral: float) -> float:
    if given is not None:
        return given
    return recommended if recommended is not None else neutral
