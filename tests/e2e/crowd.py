"""64 clients at once: what each asks for, and what it got."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from openai import AsyncOpenAI
from running_server import RunningServer

CLIENTS = 64
HANG_UP_AFTER = 12  # tokens of an answer that has LONG_ANSWER
LONG_ANSWER = 400
MODEL = "smollm2-135m"

_PREFACE = (
    "You are the keeper of a lighthouse on a small island. Every evening you write down what you"
    " saw: ships, birds, weather and visitors. You are exact, and you never use more words than"
    " you need."
)
_WHO = ("A sailor", "The old teacher", "My neighbour", "A grey cat", "The engineer", "Nobody")
_DID = ("counted", "repaired", "forgot", "painted", "sold", "found", "carried", "drew")
_WHAT = ("nine lamps", "a wooden boat", "the red door", "two letters", "a map", "some old coins")
_WHERE = ("by the river", "in the harbour", "under the bridge", "at noon", "near the mill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One client's request."""

    number: int
    prompt: str
    max_tokens: int
    temperature: float
    seed: int | None
    chats: bool
    ignores_eos: bool  # so that the answer has max_tokens
    hangs_up: bool


@dataclass(slots=True)
class Answer:
    """What a client received; two answers of one request must be equal."""

    text: str = ""
    tokens: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)  # of the tokens, exact
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


def make_asks() -> list[Ask]:
    """The same 64 each time: lengths from a few tokens to more than a step's budget, some with
    one common beginning, a third sampled with a seed, a quarter as chats, 10 that hang up, 12 in
    a row that talk for long, so that they need more and more KV blocks at the same time."""
    draw = random.Random(20)
    return [_ask(number, draw) for number in range(CLIENTS)]


def _ask(number: int, draw: random.Random) -> Ask:
    hangs_up = number % 6 == 2 and number < 60
    talks = 32 <= number < 47 and not hangs_up
    sentences = 1 if talks else 70 if number % 16 == 15 else 10 if number % 5 == 1 else 1
    story = " ".join(
        f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHAT)} {draw.choice(_WHERE)}."
        for _ in range(sentences)
    )
    preface = f"{_PREFACE} " if number % 4 == 0 and not talks else ""
    max_tokens = LONG_ANSWER if hangs_up else 64 if talks else draw.randrange(6, 22)
    samples = number % 3 == 0
    return Ask(
        number=number,
        prompt=f"{preface}Day {number}. {story} Then",
        max_tokens=max_tokens,
        temperature=draw.choice((0.5, 0.8, 1.2)) if samples else 0.0,
        seed=1000 + number if samples else None,
        chats=number % 4 == 3,
        ignores_eos=hangs_up or talks,
        hangs_up=hangs_up,
    )


async def ask_once(client: AsyncOpenAI, ask: Ask) -> Answer:
    """Streams the answer; stops reading and closes the connection where the client hangs up."""
    answer = Answer()
    options = {
        "model": MODEL,
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
        "stream": True,
        "stream_options": {"include_usage": True},
        "extra_body": {"ignore_eos": ask.ignores_eos},
    }
    if ask.chats:
        messages = [{"role": "user", "content": ask.prompt}]
        stream = await client.chat.completions.create(  # type: ignore[call-overload]
            messages=messages, logprobs=True, **options
        )
    else:
        stream = await client.completions.create(  # type: ignore[call-overload]
            prompt=ask.prompt, logprobs=0, **options
        )
    async with stream:
        async for chunk in stream:
            if chunk.usage is not None:
                answer.prompt_tokens = chunk.usage.prompt_tokens
                answer.completion_tokens = chunk.usage.completion_tokens
            for choice in chunk.choices:
                _add(answer, choice, chats=ask.chats)
            if ask.hangs_up and len(answer.tokens) >= HANG_UP_AFTER:
                break
    return answer


def _add(answer: Answer, choice: object, *, chats: bool) -> None:
    answer.finish_reason = choice.finish_reason or answer.finish_reason  # type: ignore[attr-defined]
    logprobs = choice.logprobs  # type: ignore[attr-defined]
    if chats:
        answer.text += choice.delta.content or ""  # type: ignore[attr-defined]
        for entry in logprobs.content if logprobs else ():
            answer.tokens.append(entry.token)
            answer.logprobs.append(entry.logprob)
        return
    answer.text += choice.text  # type: ignore[attr-defined]
    if logprobs is not None:
        answer.tokens += logprobs.tokens
        answer.logprobs += logprobs.token_logprobs


async def _crowd(url: str, asks: Sequence[Ask], *, at_once: int) -> list[Answer]:
    places = asyncio.Semaphore(at_once)

    async def one(client: AsyncOpenAI, ask: Ask) -> Answer:
        async with places:
            return await ask_once(client, ask)

    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300
    ) as client:
        return list(await asyncio.gather(*(one(client, ask) for ask in asks)))


def all_at_once(server: RunningServer, asks: Sequence[Ask]) -> list[Answer]:
    """Each ask's answer, in the order of the asks."""
    return asyncio.run(_crowd(server.url, asks, at_once=len(asks)))


def one_by_one(server: RunningServer, asks: Sequence[Ask]) -> list[Answer]:
    """The same, each request alone in the server."""
    return asyncio.run(_crowd(server.url, asks, at_once=1))
