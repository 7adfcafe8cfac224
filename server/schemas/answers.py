"""What the endpoints answer, for /openapi.json. Answers are not built from these classes: writing
JSON directly costs less."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class ErrorDetails(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class ErrorAnswer(BaseModel):
    error: ErrorDetails


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None = None
    completion_tokens_details: dict[str, int] | None = None


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: str
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[str, Any] | None] | None = None


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class ChatChoice(BaseModel):
    index: int
    message: dict[str, Any]
    logprobs: dict[str, Any] | None
    finish_reason: str
    token_ids: list[int] | None = None


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: list[dict[str, Any] | None] | None = None


class ModelCard(BaseModel):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    max_model_len: int
    tool_call_parser: dict[str, str | None]  # name and reason
    reasoning_parser: dict[str, str | None]


class ModelList(BaseModel):
    object: Literal["list"]
    data: list[ModelCard]


class Tokenization(BaseModel):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenization(BaseModel):
    prompt: str


class Version(BaseModel):
    version: str


class Status(BaseModel):
    status: str


class Health(BaseModel):
    status: Literal["ok", "unhealthy"]
    reason: str | None
    live: bool
    ready: bool
    draining: bool
    running: int
    waiting: int
    kv_blocks_used: int
    kv_cache_usage: float


class Load(BaseModel):
    server_load: int
    load: int
    running: int
    waiting: int
    kv_cache_usage: float


class EngineLoad(BaseModel):
    dp_rank: int
    num_running_reqs: int
    num_waiting_reqs: int
    num_total_reqs: int
    num_used_tokens: int
    max_total_num_tokens: int
    token_usage: float
    cache_hit_rate: float


class EngineLoads(BaseModel):
    timestamp: str
    version: str
    dp_rank_count: int
    loads: list[EngineLoad]


class ServerInfo(BaseModel):
    version: str
    started: int
    model: str
    max_model_len: int
    summary: list[str]
    settings: dict[str, Any]
    in_flight: int
    engine: dict[str, Any]


class Aborted(BaseModel):
    aborted: int


class LogLevel(BaseModel):
    level: str


class MessagesErrorDetails(BaseModel):
    type: str
    message: str


class MessagesError(BaseModel):
    type: Literal["error"]
    error: MessagesErrorDetails


class MessagesReply(BaseModel):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    stop_sequence: str | None
    usage: dict[str, Any]


class CountedTokens(BaseModel):
    input_tokens: int


class Response(BaseModel):
    id: str
    object: Literal["response"]
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    usage: dict[str, Any] | None


class DeletedResponse(BaseModel):
    id: str
    object: Literal["response"]
    deleted: bool


class InputItems(BaseModel):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class InputTokens(BaseModel):
    object: Literal["response.input_tokens"]
    input_tokens: int
