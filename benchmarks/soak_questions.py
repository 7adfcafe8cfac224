"""Questions whose answers are known, and how a client that looks closely asks them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx

QUESTIONS = 48
_WHO = ("A sailor", "The old teacher", "My neighbour", "A grey cat", "The engineer", "Nobody")
_DID = ("counted", "repaired", "forgot", "painted", "sold", "found", "carried", "drew")
_WHAT = ("nine lamps", "a wooden boat", "the red door", "two letters", "a map", "some old coins")


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A request that has one right answer: greedy, or sampled with a seed."""

    path: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """`kind`: "streamed", "whole", "hung up" (by the client), "refused" or "no end": its terminal
    event is missing, or is not the only one."""

    kind: str
    text: str = ""
    finish_reason: str | None = None
    tokens: int = 0
    why: str = ""

    @property
    def content(self) -> tuple[str, str | None, int]:
        """What two answers to one question have in common."""
        return self.text, self.finish_reason, self.tokens


async def make_questions(client: httpx.AsyncClient, model: str) -> list[Question]:
    """The same each time; a quarter as chats, if the model has a chat template."""
    probe = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    chats = (await client.post("/v1/chat/completions", json=probe)).status_code == 200
    draw = random.Random(7)
    return [_question(number, draw, model, chats=chats) for number in range(QUESTIONS)]


def _question(number: int, draw: random.Random, model: str, *, chats: bool) -> Question:
    sentences = 12 if number % 8 == 5 else draw.randrange(1, 4)
    story = " ".join(
        f"{draw.choice(_WHO)} {draw.choice(_DID)} {draw.choice(_WHAT)}." for _ in range(sentences)
    )
    talks = number % 6 == 1  # for so long that it needs more and more KV blocks
    body: dict[str, object] = {
        "model": model,
        "max_tokens": draw.randrange(70, 130) if talks else draw.randrange(4, 33),
        "temperature": 0,
        "ignore_eos": number % 2 == 0,
    }
    if number % 3 == 0:
        body |= {"temperature": 0.9, "seed": number}
    if chats and number % 4 == 3:
        body["messages"] = [{"role": "user", "content": f"{number}. {story} Go on."}]
        return Question("/v1/chat/completions", body)
    body["prompt"] = f"Day {number}. {story} Then"
    return Question("/v1/completions", body)


async def ask(
    client: httpx.AsyncClient,
    question: Question,
    *,
    stream: bool = False,
    hangs_up_after: int | None = None,
) -> Answer:
    """`hangs_up_after`: events of a stream, after which the client closes the connection."""
    body = dict(question.body)
    if not stream:
        response = await client.post(question.path, json=body)
        if response.status_code in (429, 503):
            return Answer("refused")
        answer = response.raise_for_status().json()
        (choice,) = answer["choices"]
        return _ended(
            "whole", _text(choice), choice["finish_reason"], answer["usage"]["completion_tokens"]
        )
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    async with client.stream("POST", question.path, json=body) as response:
        if response.status_code in (429, 503):
            return Answer("refused")
        response.raise_for_status()
        return await _read_stream(response, hangs_up_after)


async def _read_stream(response: httpx.Response, hangs_up_after: int | None) -> Answer:
    text, reasons, tokens, events, done = "", [], 0, 0, 0
    async for line in response.aiter_lines():
        if hangs_up_after is not None and events >= hangs_up_after:
            return Answer("hung up")
        if not line.startswith("data: "):
            continue
        if done:
            return Answer("no end", why="something came after [DONE]")
        if line == "data: [DONE]":
            done += 1
            continue
        frame = json.loads(line.removeprefix("data: "))
        if "error" in frame:
            return Answer("no end", why=str(frame["error"]))
        events += 1
        for choice in frame["choices"]:
            text += _text(choice)
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
        if frame.get("usage"):
            tokens = frame["usage"]["completion_tokens"]
    if not done or len(reasons) != 1:
        return Answer("no end", why=f"{done} [DONE], finish reasons {reasons}")
    return _ended("streamed", text, reasons[0], tokens)


def _ended(kind: str, text: str, reason: str | None, tokens: int) -> Answer:
    answer = Answer(kind, text, reason, tokens)
    if reason not in ("stop", "length"):
        return replace(answer, kind="no end", why=f"finish reason {reason}")
    return answer


def _text(choice: Mapping[str, object]) -> str:
    part = choice.get("message") or choice.get("delta")
    if isinstance(part, Mapping):
        return str(part.get("content") or "")
    return str(choice.get("text") or "")
