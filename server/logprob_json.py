"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.engine.request import TokenLogprobs
from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.text.tokenizer import Tokenizer

# JSON has no -infinity; OpenAI writes this for "impossible".
LOWEST_LOGPROB = -9999.0


def chat_logprobs(
    entries: Sequence[PlacedLogprob], tokenizer: Tokenizer, *, as_ids: bool = False
) -> dict[str, object]:
    """The `logprobs` of a chat choice. `as_ids`: tokens are named as vLLM's `token_id:42`, which
    tells tokens apart that print alike."""
    content = []
    for entry in entries:
        body = _chat_token(entry.token_id, entry.logprob, tokenizer, as_ids=as_ids)
        body["top_logprobs"] = [
            _chat_token(token_id, logprob, tokenizer, as_ids=as_ids)
            for token_id, logprob in entry.top
        ]
        content.append(body)
    return {"content": content, "refusal": None}


def completion_logprobs(
    entries: Sequence[PlacedLogprob], tokenizer: Tokenizer, *, as_ids: bool = False
) -> dict[str, object]:
    """The `logprobs` of a text completion. As in OpenAI's, `top_logprobs` also holds the token
    itself, so it may have one entry more than was asked for."""
    tokens = [_name(entry.token_id, tokenizer, as_ids=as_ids) for entry in entries]
    tops: list[dict[str, float] | None] = []
    for token, entry in zip(tokens, entries, strict=True):
        if entry.logprob is None:
            tops.append(None)
            continue
        top: dict[str, float] = {}
        for token_id, logprob in entry.top:  # likeliest first: it wins among equal texts
            name = _name(token_id, tokenizer, as_ids=as_ids)
            top.setdefault(name, _finite(logprob))
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


def prompt_logprobs(
    entries: Sequence[TokenLogprobs | None], tokenizer: Tokenizer, *, top: int
) -> list[dict[str, object] | None]:
    """vLLM's `prompt_logprobs`: for each token of the prompt but the first, the token itself and
    the `top` likeliest by id."""
    bodies: list[dict[str, object] | None] = []
    for entry in entries:
        if entry is None:
            bodies.append(None)
            continue
        ranked = [(entry.token_id, entry.logprob, entry.rank)]
        ranked += [(*pair, rank) for rank, pair in enumerate(entry.top[:top], 1)]
        bodies.append(
            {
                str(token_id): {
                    "logprob": _finite(logprob),
                    "rank": rank,
                    "decoded_token": tokenizer.token_text(token_id),
                }
                for token_id, logprob, rank in ranked
            }
        )
    return bodies


def _chat_token(
    token_id: int, logprob: float | None, tokenizer: Tokenizer, *, as_ids: bool
) -> dict[str, object]:
    return {
        "token": _name(token_id, tokenizer, as_ids=as_ids),
        "logprob": LOWEST_LOGPROB if logprob is None else _finite(logprob),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }


def _name(token_id: int, tokenizer: Tokenizer, *, as_ids: bool) -> str:
    return f"token_id:{token_id}" if as_ids else tokenizer.token_text(token_id)


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST_LOGPROB)
