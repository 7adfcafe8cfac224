"""A long prompt that arrives while eight streams decode. What is held here is the structure: the
streams go on step by step. benchmarks/long_prompt_gap.py has the figures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from openai import AsyncOpenAI
from running_server import RunningServer

from .servers import errors_in, wait_until_idle

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
STREAMS = 8
STREAM_TOKENS = 40
PROMPT_TOKENS = 6000
STEP_BUDGET = 512  # the server's default


@dataclass(slots=True)
class Progress:
    """Tokens that each stream has received, and what the long prompt's client has."""

    received: list[int] = field(default_factory=lambda: [0] * STREAMS)
    before: list[int] = field(default_factory=list)  # `received` when the long prompt was sent
    after: list[int] = field(default_factory=list)  # and when its first token came
    answer: str = ""


def long_prompt() -> list[int]:
    """Token ids that no other test has left in the prefix cache."""
    return [1000 + (place * 7919) % 30_000 for place in range(PROMPT_TOKENS)]


async def short_stream(client: AsyncOpenAI, number: int, progress: Progress) -> str | None:
    """Counts its tokens; returns its finish reason."""
    reason = None
    stream = await client.completions.create(
        model=MODEL,
        prompt=f"Story {number}. Once upon a time",
        max_tokens=STREAM_TOKENS,
        temperature=0,
        logprobs=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    async for chunk in stream:
        for choice in chunk.choices:
            progress.received[number] += len(choice.logprobs.tokens) if choice.logprobs else 0
            reason = choice.finish_reason or reason
    return reason


async def long_stream(client: AsyncOpenAI, progress: Progress) -> None:
    while min(progress.received) < 2:
        await asyncio.sleep(0.001)
    progress.before = list(progress.received)
    stream = await client.completions.create(
        model=MODEL, prompt=long_prompt(), max_tokens=4, temperature=0, stream=True
    )
    async for chunk in stream:
        progress.after = progress.after or list(progress.received)
        progress.answer += chunk.choices[0].text


async def scenario(url: str) -> tuple[Progress, list[str | None]]:
    progress = Progress()
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300
    ) as client:
        *reasons, _ = await asyncio.gather(
            *(short_stream(client, number, progress) for number in range(STREAMS)),
            long_stream(client, progress),
        )
        again = await client.completions.create(
            model=MODEL, prompt=long_prompt(), max_tokens=4, temperature=0
        )
    assert again.usage is not None
    assert again.usage.prompt_tokens_details is not None
    assert (again.usage.prompt_tokens_details.cached_tokens or 0) > PROMPT_TOKENS - 64
    assert again.choices[0].text == progress.answer  # read in pieces, or found in the cache
    return progress, reasons


def test_streams_go_on_while_a_long_prompt_is_read(smollm2: RunningServer) -> None:
    progress, reasons = asyncio.run(scenario(smollm2.url))
    assert reasons == ["length"] * STREAMS
    assert progress.received == [STREAM_TOKENS] * STREAMS
    steps = PROMPT_TOKENS // STEP_BUDGET  # at least so many steps read the prompt
    for before, after in zip(progress.before, progress.after, strict=True):
        assert after - before >= steps - 1, "a stream waited for the prompt"
    wait_until_idle(smollm2)
    assert errors_in(smollm2.log()) == []
