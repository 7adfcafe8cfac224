"""Greedy answers of real models over the OpenAI SDK: what a user would notice first if a kernel, a
tokenizer or a chat template were wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from running_server import RunningServer

from .generated_code import evaluate
from .servers import ServerFactory, sdk

pytestmark = pytest.mark.e2e


@pytest.fixture
def client(smollm2: RunningServer) -> Iterator[OpenAI]:
    with sdk(smollm2) as client:
        yield client


@pytest.fixture(scope="module")
def qwen(serving: ServerFactory) -> Iterator[OpenAI]:
    with (
        serving("qwen2.5-coder-0.5b", "--tokens", "8192") as server,
        sdk(server) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def gemma(serving: ServerFactory) -> Iterator[OpenAI]:
    with serving("gemma3-270m", "--tokens", "8192") as server, sdk(server) as client:
        yield client


def ask(client: OpenAI, question: str, *, max_tokens: int = 250) -> str:
    """The only model's greedy answer."""
    (model,) = client.models.list()
    answer = client.chat.completions.create(
        model=model.id,
        messages=[{"role": "user", "content": question}],
        temperature=0,
        max_tokens=max_tokens,
    )
    return answer.choices[0].message.content or ""


def continued(client: OpenAI, prompt: str, *, max_tokens: int = 24) -> str:
    (model,) = client.models.list()
    answer = client.completions.create(
        model=model.id, prompt=prompt, temperature=0, max_tokens=max_tokens
    )
    return answer.choices[0].text


def test_the_model_is_listed(client: OpenAI) -> None:
    (card,) = client.models.list()
    assert card.id == "smollm2-135m"
    assert client.models.retrieve("smollm2-135m") == card


def test_smollm2_knows_the_capital_of_france(client: OpenAI) -> None:
    assert continued(client, "The capital of France is").startswith(" Paris")


def test_smollm2_writes_a_string_reversal(client: OpenAI, tmp_path: Path) -> None:
    answer = ask(client, "Write a Python function that reverses a string.")
    assert evaluate("f('Grüße, 12 ab')", answer, folder=tmp_path) == "'ba 21 ,eßürG'"
    assert evaluate("f('')", answer, folder=tmp_path) == "''"


def test_a_streamed_chat_is_the_whole_one(client: OpenAI) -> None:
    fields = {
        "model": "smollm2-135m",
        "messages": [{"role": "user", "content": "Name three colours and an emoji 🙂."}],
        "temperature": 0,
        "max_tokens": 48,
        "logprobs": True,
        "top_logprobs": 2,
    }
    whole = client.chat.completions.create(**fields)  # type: ignore[call-overload]
    text, logprobs, reasons, usage = "", [], [], None
    stream = client.chat.completions.create(
        **fields, stream=True, stream_options={"include_usage": True}
    )  # type: ignore[call-overload]
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            logprobs += choice.logprobs.content if choice.logprobs else []
            reasons += [choice.finish_reason] if choice.finish_reason else []
    (choice,) = whole.choices
    assert text == choice.message.content
    assert logprobs == choice.logprobs.content
    assert reasons == [choice.finish_reason]
    assert usage.prompt_tokens == whole.usage.prompt_tokens
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_a_streamed_completion_is_the_whole_one(client: OpenAI) -> None:
    fields = {
        "model": "smollm2-135m",
        "prompt": "Water boils at",
        "seed": 7,
        "temperature": 0.8,
        "max_tokens": 32,
        "logprobs": 1,
    }
    whole = client.completions.create(**fields)  # type: ignore[call-overload]
    text, tokens, logprobs = "", [], []
    for chunk in client.completions.create(**fields, stream=True):  # type: ignore[call-overload]
        for choice in chunk.choices:
            text += choice.text
            if choice.logprobs is not None:
                tokens += choice.logprobs.tokens
                logprobs += choice.logprobs.token_logprobs
    assert text == whole.choices[0].text
    assert tokens == whole.choices[0].logprobs.tokens
    assert logprobs == whole.choices[0].logprobs.token_logprobs


def test_a_prompt_sent_again_comes_from_the_prefix_cache(client: OpenAI) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. " * 12
    answers = [
        client.completions.create(model="smollm2-135m", prompt=prompt, temperature=0, max_tokens=8)
        for _ in range(2)
    ]
    details = answers[1].usage.prompt_tokens_details if answers[1].usage else None
    assert details is not None
    assert (details.cached_tokens or 0) > 60
    assert answers[0].choices[0].text == answers[1].choices[0].text


def test_qwen_knows_the_capital_of_france(qwen: OpenAI) -> None:
    assert "Paris" in ask(qwen, "What is the capital of France?", max_tokens=32)


def test_qwen_writes_working_python(qwen: OpenAI, tmp_path: Path) -> None:
    answer = ask(
        qwen,
        "Write a Python function is_prime(n) that returns True if n is a prime number and False"
        " otherwise.",
    )
    primes = evaluate("[n for n in range(-2, 50) if f(n)]", answer, folder=tmp_path)
    assert primes == "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Water freezes at", "32 degrees Fahrenheit"),
        ("The sun rises in the east and", "sets in the west"),
        ("Once upon a time, there was a little girl who", " loved to "),
    ],
)
def test_gemma_continues_english(gemma: OpenAI, prompt: str, expected: str) -> None:
    assert expected in continued(gemma, prompt)


def test_a_base_model_says_that_it_cannot_chat(gemma: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(gemma, "Hello!")
    assert refused.value.code == "no_chat_template"
    assert "chat template" in refused.value.message
    assert "/v1/completions" in refused.value.message
    assert continued(gemma, "Water freezes at", max_tokens=4).startswith(" 32")
