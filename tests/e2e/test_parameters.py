"""What parameters do to real answers, through the real SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from running_server import RunningServer

from .servers import ServerFactory, sdk

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
CODER = "qwen2.5-coder-0.5b"
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def client(smollm2: RunningServer) -> Iterator[OpenAI]:
    with sdk(smollm2) as client:
        yield client


def complete(client: OpenAI, prompt: str = PROMPT, /, **fields: Any) -> Any:
    """Greedy; fields that the SDK does not know go into the body as they are."""
    known = {"n", "best_of", "echo", "logprobs", "seed", "stop", "suffix", "temperature"}
    own = {name: value for name, value in fields.items() if name in known}
    extra = {name: value for name, value in fields.items() if name not in {*known, "max_tokens"}}
    return client.completions.create(
        model=MODEL,
        prompt=prompt,
        max_tokens=fields.get("max_tokens", 8),
        extra_body=extra,
        **{"temperature": 0, **own},
    )


def tokenize(server: RunningServer, text: str) -> list[int]:
    body = {"prompt": text, "add_special_tokens": False}
    ids: list[int] = httpx.post(f"{server.url}/tokenize", json=body).json()["tokens"]
    return ids


def test_a_bad_word_is_not_said(client: OpenAI) -> None:
    assert "Paris" in complete(client).choices[0].text
    text = complete(client, bad_words=["Paris"], max_tokens=24).choices[0].text
    assert "Paris" not in text
    assert text.strip()


def test_only_allowed_tokens_are_said(client: OpenAI, smollm2: RunningServer) -> None:
    allowed = tokenize(smollm2, " yes no maybe")
    answer = complete(client, allowed_token_ids=allowed, return_token_ids=True, temperature=1)
    ids = answer.choices[0].token_ids
    assert len(ids) == 8
    assert set(ids) <= set(allowed)


def test_token_ids_and_text_agree(client: OpenAI, smollm2: RunningServer) -> None:
    (choice,) = complete(client, return_token_ids=True).choices
    assert choice.prompt_token_ids == tokenize(smollm2, PROMPT)
    back = httpx.post(f"{smollm2.url}/detokenize", json={"tokens": choice.token_ids})
    assert back.json()["prompt"] == choice.text


def test_prompt_logprobs_are_those_of_the_echo(client: OpenAI) -> None:
    fields = {"echo": True, "logprobs": 2, "prompt_logprobs": 2, "max_tokens": 1}
    (choice,) = complete(client, **fields).choices
    echoed = choice.logprobs.token_logprobs[:-1]
    assert choice.prompt_logprobs[0] is echoed[0] is None
    for entries, logprob in zip(choice.prompt_logprobs[1:], echoed[1:], strict=True):
        own = next(iter(entries.values()))
        assert own["logprob"] == logprob
    for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True):
        assert choice.text.startswith(token, offset)


def test_a_prompt_is_scored_without_an_answer(client: OpenAI) -> None:
    (choice,) = complete(client, echo=True, logprobs=0, max_tokens=0).choices
    assert choice.text == PROMPT
    assert all(logprob < 0 for logprob in choice.logprobs.token_logprobs[1:])


def test_the_best_of_several_is_the_likeliest(client: OpenAI) -> None:
    fields = {"temperature": 1.2, "seed": 5, "logprobs": 0}
    every = complete(client, n=4, **fields).choices
    means = [
        sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)
        for choice in every
    ]
    best = complete(client, best_of=4, **fields)
    assert best.choices[0].text == every[means.index(max(means))].text
    assert best.usage.completion_tokens == 4 * 8


def test_a_salt_separates_prefixes(client: OpenAI) -> None:
    prompt = "Long ago, in a land of rivers, " * 12

    def cached(**fields: str) -> int:
        details = complete(client, prompt, max_tokens=1, **fields).usage.prompt_tokens_details
        return int(details.cached_tokens or 0)

    cached()
    assert cached() > 64
    assert cached(cache_salt="tenant") == 0
    assert cached(cache_salt="tenant") > 64


def test_the_prefix_cache_is_reset(client: OpenAI, smollm2: RunningServer) -> None:
    prompt = "Once there was a lighthouse keeper. " * 12
    for _ in range(2):
        usage = complete(client, prompt, max_tokens=1).usage
    assert usage.prompt_tokens_details.cached_tokens >= 64
    assert httpx.post(f"{smollm2.url}/reset_prefix_cache").status_code == 200
    usage = complete(client, prompt, max_tokens=1).usage
    assert not usage.prompt_tokens_details.cached_tokens


def test_a_message_is_continued(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is the city of"},
        ],
        max_tokens=4,
        temperature=0,
        extra_body={"continue_final_message": True, "add_generation_prompt": False},
    )
    assert (answer.choices[0].message.content or "").startswith(" Paris")


def test_chat_tokens_are_counted_as_they_are_read(client: OpenAI, smollm2: RunningServer) -> None:
    messages = [{"role": "user", "content": "How many tokens are these?"}]
    count = httpx.post(f"{smollm2.url}/tokenize", json={"messages": messages}).json()["count"]
    answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)  # type: ignore[arg-type]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == count


def test_no_suffix_without_markers(client: OpenAI, smollm2: RunningServer) -> None:
    assert len(tokenize(smollm2, "<fim_prefix>")) > 1  # no marker of this vocabulary
    with pytest.raises(openai.BadRequestError) as refused:
        complete(client, suffix=")")
    assert refused.value.param == "suffix"


def test_a_suffix_is_filled_in(serving: ServerFactory) -> None:
    with serving(CODER, "--tokens", "2048") as server, sdk(server) as client:
        answer = client.completions.create(
            model=CODER,
            prompt="def add(a, b):\n    return",
            suffix="\n\nprint(add(1, 2))\n",
            max_tokens=16,
            temperature=0,
        )
    (choice,) = answer.choices
    assert choice.text.strip().startswith("a + b")
    assert "fim" not in choice.text
    assert "def add" not in choice.text
