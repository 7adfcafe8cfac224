"""Conversations of several turns, and how much of their prompts replicas found in their caches."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Every conversation begins with a text of its own, and every turn sends all of it again."""

    conversations: int = 7  # an odd number: round robin then changes replicas from turn to turn
    turns: int = 4
    first_words: int = 100
    turn_words: int = 30
    clients: int = 2
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seconds: float
    requests: int
    prompt_tokens: int  # that replicas looked up in their caches
    cached_tokens: int  # and found there

    @property
    def hit_rate(self) -> float:
        return self.cached_tokens / max(1, self.prompt_tokens)


@dataclass(slots=True)
class _Conversation:
    draw: random.Random
    messages: list[dict[str, str]] = field(default_factory=list)

    def say(self, words: int) -> None:
        text = " ".join(self.draw.choices(_WORDS, k=words))
        self.messages.append({"role": "user", "content": text})


def converse(url: str, replicas: Sequence[str], workload: Workload, *, model: str) -> Outcome:
    """Sends the workload to `url`, behind which `replicas` are; their caches are emptied first.

    Raises `httpx.HTTPStatusError` when a request fails.
    """
    for replica in replicas:
        httpx.post(f"{replica}/reset_prefix_cache", trust_env=False).raise_for_status()
    before = [_prefix_tokens(replica) for replica in replicas]
    draw = random.Random(workload.seed)
    conversations = [
        _Conversation(random.Random(f"{workload.seed}/{number}"))
        for number in range(workload.conversations)
    ]
    started = time.perf_counter()
    with (
        httpx.Client(base_url=url, timeout=REQUEST_SECONDS, trust_env=False) as client,
        ThreadPoolExecutor(workload.clients) as pool,
    ):
        for turn in range(workload.turns):
            draw.shuffle(conversations)
            for conversation in conversations:
                conversation.say(workload.turn_words if turn else workload.first_words)
            list(pool.map(lambda each: _answer(client, each, model), conversations))
    seconds = time.perf_counter() - started
    after = [_prefix_tokens(replica) for replica in replicas]
    pairs = list(zip(before, after, strict=True))
    return Outcome(
        seconds=seconds,
        requests=workload.turns * workload.conversations,
        prompt_tokens=sum(new[0] - old[0] for old, new in pairs),
        cached_tokens=sum(new[1] - old[1] for old, new in pairs),
    )


def _answer(client: httpx.Client, conversation: _Conversation, model: str) -> None:
    body = {
        "model": model,
        "messages": conversation.messages,
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
    }
    response = client.post("/v1/chat/completions", json=body)
    response.raise_for_status()
    text = response.json()["choices"][0]["message"]["content"]
    conversation.messages.append({"role": "assistant", "content": text or "…"})


def _prefix_tokens(replica: str) -> tuple[float, float]:
    """(queried, found) since the replica's start."""
    text = httpx.get(f"{replica}/metrics", timeout=30, trust_env=False).text
    queries, hits = (next(_samples(text, name)) for name in ("queries", "hits"))
    return queries, hits


def _samples(text: str, name: str) -> Iterator[float]:
    for found in re.finditer(rf"^\w+:prefix_cache_{name}_total\{{.*\}} (\S+)$", text, re.M):
        yield float(found[1])
