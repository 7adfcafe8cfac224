"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.text.tokenizer import Tokenizer

# JSON has no -infinity; OpenAI writes this for "impossible".
LOWEST_LOGPROB = -9999.0


def chat_logprobs(entries: Sequence[PlacedLogprob], tokenizer: Tokenizer) -> dict[str, object]:
    """The `logprobs` of a chat choice."""
    content = []
    for entry in entries:
        body = _chat_token(entry.token_id, entry.logprob, tokenizer)
        body["top_logprobs"] = [
            _chat_token(token_id, logprob, tokenizer) for token_id, logprob in entry.top
        ]
        content.append(body)
    return {"content": content, "refusal": None}


def completion_logprobs(
    entries: Sequence[PlacedLogprob], tokenizer: Tokenizer
) -> dict[str, object]:
    """The `logprobs` of a text completion. As in OpenAI's, `top_logprobs` also holds the token
    itself, so it may have one entry more than was asked for."""
    tokens = [tokenizer.token_text(entry.token_id) for entry in entries]
    tops: list[dict[str, float] | None] = []
    for token, entry in zip(tokens, entries, strict=True):
        if entry.logprob is None:
            tops.append(None)
            continue
        top: dict[str, float] = {}
        for token_id, logprob in entry.top:  # likeliest first: it wins among equal texts
            top.setdefault(tokenizer.token_text(token_id), _finite(logprob))
        top.setdefault(token, _finite(entry.logprob))
        tops.append(top)
    return {
        "tokens": tokens,
        "token_logprobs": [
            None if entry.logprob is None else _finite(entry.logprob) for entry in entries
        ],
        "top_logprobs": tops,
        "text_offset": [entry.offset for entry in entries],
    }


def _chat_token(token_id: int, logprob: float | None, tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "token": tokenizer.token_text(token_id),
        "logprob": LOWEST_LOGPROB if logprob is None else _finite(logprob),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB)
