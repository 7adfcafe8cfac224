"""Refuses at once what the engine could never serve."""

from __future__ import annotations

from collections.abc import Collection

from ftllm.engine.engine_config import EngineConfig, EngineLimits
from ftllm.engine.pooling import EmbeddingParams, TokenScoresParams
from ftllm.engine.request import Request
from ftllm.errors import ContextLengthError, RequestError


def check_request(request: Request, limits: EngineLimits, vocab_size: int) -> None:
    """Raises `RequestError` naming the field, or `ContextLengthError` with both numbers."""
    if not request.prompt_ids:
        raise RequestError("The prompt is empty; it needs at least one token.", param="prompt")
    timeout = request.queue_timeout
    if timeout is not None and not timeout > 0:
        raise RequestError(
            f"queue_timeout is {timeout}; it must be above 0 seconds, or None.",
            param="queue_timeout",
        )
    _check_ids("prompt", request.prompt_ids, vocab_size)
    _check_ids("logit_bias", request.params.logit_bias, vocab_size)
    _check_ids("stop_token_ids", request.params.stop_token_ids, vocab_size)
    _check_ids("allowed_token_ids", request.params.allowed_token_ids or (), vocab_size)
    for word in request.params.bad_words:
        _check_ids("bad_words", word, vocab_size)
    prompt, limit = len(request.prompt_ids), limits.context_len
    if limit < limits.max_model_len:
        whose = f"The KV cache of this server holds {limit} tokens"
    else:
        whose = f"This model's maximum context length is {limit} tokens"
    if request.pooling is not None:
        if prompt > limit:
            raise ContextLengthError(
                f"{whose}, but the request has {prompt}. Shorten it to at most {limit}."
            )
        return
    if prompt >= limit:
        raise ContextLengthError(
            f"{whose}, but the request has {prompt} in the prompt. Shorten the prompt to at most"
            f" {limit - 1} tokens, so that one can be generated."
        )
    output = request.params.max_tokens
    if output is not None and prompt + output > limit:
        raise ContextLengthError(
            f"{whose}, but the request asks for {prompt + output}: {prompt} in the prompt and"
            f" {output} for the output. Shorten the prompt, or lower max_tokens to at most"
            f" {limit - prompt}."
        )


def check_ability(request: Request, config: EngineConfig) -> None:
    """Raises `RequestError` when the model cannot do what the request asks for."""
    match request.pooling:
        case None | TokenScoresParams() if not config.generates:
            raise RequestError(
                "This model has no output layer: it gives embeddings, and cannot generate text.",
                param="model",
                code="unsupported_model",
            )
        case EmbeddingParams() if not config.embedding_size:
            raise RequestError(
                "This model gives no hidden states, so it cannot embed.",
                param="model",
                code="unsupported_model",
            )
        case EmbeddingParams(dimensions=int(count)) if count > config.embedding_size:
            raise RequestError(
                f"dimensions is {count}, but this model's embeddings have {config.embedding_size}"
                " values; it must be from 1 to that.",
                param="dimensions",
            )
        case TokenScoresParams(token_ids=ids):
            _check_ids("token_ids", ids, config.vocab_size)


def _check_ids(param: str, ids: Collection[int], vocab_size: int) -> None:
    if not ids:
        return
    for token_id in (min(ids), max(ids)):
        if not 0 <= token_id < vocab_size:
            raise RequestError(
                f"{param} has the token id {token_id}; this model's ids are from 0 to"
                f" {vocab_size - 1}.",
                param=param,
            )
