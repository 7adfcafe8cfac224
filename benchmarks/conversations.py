"""Conversations of several turns, and how much of their prompts replicas found in their caches."""

from __future__ import annotations

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

ANSWER_TOKENS = 4
REQUEST_SECONDS = 300.0
_WORDS = (
    *("harbour", "lantern", "copper", "window", "river", "market", "garden", "winter"),
    *("letter", "bridge", "carpet", "signal", "orchard", "thunder", "pepper", "island"),
    *("candle", "mirror", "saddle", "timber", "violin", "anchor", "basket", "cotton"),
)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Every conversation begins with a text of its own, and every turn sends all of it again. The
    order of the conversations changes from turn to turn."""

    conversations: int = 8
    turns: int = 3
    first_words: int = 300
    turn_words: int = 60
    clients: int = 2
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seconds: float
    requests: int
    prompt_tokens: int
    cached_tokens: int  # of them, by the answers' usage

    @property
    def hit_rate(self) -> float:
        return self.cached_tokens / max(1, self.prompt_tokens)


@dataclass(frozen=True, slots=True)
class _Usage:
    prompt_tokens: int
    cached_tokens: int


@dataclass(slots=True)
class _Conversation:
    draw: random.Random
    messages: list[dict[str, str]] = field(default_factory=list)

    def say(self, words: int) -> None:
        text = " ".join(self.draw.choices(_WORDS, k=words))
        self.messages.append({"role": "user", "content": text})


def converse(url: str, workload: Workload, *, model: str) -> Outcome:
    """Sends the workload to `url`.

    Raises `httpx.HTTPStatusError` when a request fails.
    """
    draw = random.Random(workload.seed)
    conversations = [
        _Conversation(random.Random(f"{workload.seed}/{number}"))
        for number in range(workload.conversations)
    ]
    usages: list[_Usage] = []
    started = time.perf_counter()
    with (
        httpx.Client(base_url=url, timeout=REQUEST_SECONDS, trust_env=False) as client,
        ThreadPoolExecutor(workload.clients) as pool,
    ):
        for turn in range(workload.turns):
            draw.shuffle(conversations)
            for conversation in conversations:
                conversation.say(workload.turn_words if turn else workload.first_words)
            usages += pool.map(lambda each: _answer(client, each, model), conversations)
    return Outcome(
        seconds=time.perf_counter() - started,
        requests=len(usages),
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )


def _answer(client: httpx.Client, conversation: _Conversation, model: str) -> _Usage:
    body = {
        "model": model,
        "messages": conversation.messages,
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
    }
    response = client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    answer = response.json()
    text = answer["choices"][0]["message"]["content"]
    conversation.messages.append({"role": "assistant", "content": text or "…"})
    usage = answer["usage"]
    return _Usage(usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"])


def prefix_tokens(replica: str) -> tuple[int, int]:
    """(queried, found) by the metrics of the server at this URL, since its start."""
    text = httpx.get(f"{replica}/metrics", timeout=30, trust_env=False).text
    queries, hits = (
        re.search(rf"^\w+:prefix_cache_{name}_total\{{.*\}} (\S+)$", text, re.M)
        for name in ("queries", "hits")
    )
    if queries is None or hits is None:
        raise ValueError(f"{replica}/metrics does not count prefix cache queries and hits")
    return int(float(queries[1])), int(float(hits[1]))
