"""POST /tokenize and POST /detokenize, in vLLM's shapes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ftllm.server.schemas.base import JsonObject, Schema, TokenIds
from ftllm.server.schemas.chat import ChatMessage
from ftllm.server.schemas.tools import Tools


class TokenizeRequest(Schema):
    """Either a prompt or messages."""

    model: str | None = None  # None = the served model
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1, fail_fast=True)] | None = None
    add_special_tokens: bool | None = None  # None = true for a prompt, false for messages
    return_token_strs: bool | None = None

    # For messages only.
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: JsonObject | None = None
    tools: Tools | None = None


class DetokenizeRequest(Schema):
    model: str | None = None
    tokens: TokenIds
