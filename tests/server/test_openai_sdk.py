"""The real SDK against the real server, with a scripted engine behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from ftllm.errors import QueueFullError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import listening
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import FakeModel, says

KEY = "sk-test"


@pytest.fixture
def url(model: FakeModel) -> Iterator[str]:
    with listening(create_app(model, ServerSettings(api_keys=(KEY,)))) as url:
        yield f"{url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        yield client


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny/model",
        messages=[{"role": "system", "content": "Short."}, {"role": "user", "content": "Hi"}],
        logprobs=True,
        top_logprobs=1,
        extra_body={"top_k": 5, "chat_template_kwargs": {"tail": ""}},
    )
    (choice,) = answer.choices
    assert choice.message.content == "Hello world!"
    assert choice.finish_reason == "stop"
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert choice.logprobs.content[0].top_logprobs[0].token == "Hello"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == CACHED_TOKENS


def test_an_answer_can_be_sent_back_as_it_came(client: OpenAI) -> None:
    first = client.chat.completions.create(
        model="tiny/model", messages=[{"role": "user", "content": "Hi"}]
    )
    message = first.choices[0].message
    for history in (message, message.model_dump()):
        answer = client.chat.completions.create(
            model="tiny/model",
            messages=[{"role": "user", "content": "Hi"}, history, {"role": "user", "content": "?"}],  # type: ignore[list-item]
        )
        assert answer.choices[0].message.content == "Hello world!"


def test_streamed_chat(client: OpenAI) -> None:
    text = ""
    usage = None
    with client.chat.completions.create(
        model="tiny/model",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                text += choice.delta.content or ""
            usage = chunk.usage or usage
    assert text == "Hello world!"
    assert usage is not None
    assert usage.completion_tokens == 4


def test_the_stream_helper(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="tiny/model", messages=[{"role": "user", "content": "Hi"}], n=2
    ) as stream:
        final = stream.get_final_completion()
    assert [choice.message.content for choice in final.choices] == ["Hello world!"] * 2


def test_async_streams_at_once(url: str, engine: FakeEngine) -> None:
    engine.script = lambda request: says(f"seed {request.params.seed}")

    async def one(client: AsyncOpenAI, seed: int) -> str:
        stream = await client.chat.completions.create(
            model="tiny/model",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            seed=seed,
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def scenario() -> None:
        async with AsyncOpenAI(base_url=url, api_key=KEY) as client:
            texts = await asyncio.gather(*(one(client, seed) for seed in range(16)))
        assert texts == [f"seed {seed}" for seed in range(16)]

    asyncio.run(scenario())


def test_a_response_in_the_background_is_streamed_again(client: OpenAI) -> None:
    created = client.responses.create(
        model="tiny/model", input="Hi", background=True, stream=True, store=True
    )
    events = list(created)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    first, last = events[0], events[-1]
    assert first.type == "response.created"
    assert last.type == "response.completed"
    assert last.response.output_text == "Hello world!"
    rest = client.responses.retrieve(first.response.id, stream=True, starting_after=4)
    assert list(rest) == events[5:]


def test_completions(client: OpenAI) -> None:
    answer = client.completions.create(
        model="tiny/model", prompt=["a", "b"], logprobs=1, echo=True, max_tokens=2
    )
    assert [choice.text for choice in answer.choices] == ["aHello world", "bHello world"]
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.text_offset == [0, 0, 1, 6]
    pieces = client.completions.create(model="tiny/model", prompt="a", stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == "Hello world!"


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny/model"]
    assert client.models.retrieve("tiny/model").id == "tiny/model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_errors_are_the_sdks_own(client: OpenAI, engine: FakeEngine) -> None:
    def ask(**fields: object) -> object:
        body = {"model": "tiny/model", "messages": [{"role": "user", "content": "Hi"}], **fields}
        return client.chat.completions.create(**body)  # type: ignore[call-overload]

    with pytest.raises(openai.BadRequestError) as bad:
        ask(temperature=-1)
    assert (bad.value.param, bad.value.code) == ("temperature", "invalid_value")
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(model="gpt-9")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        ask(messages=[{"role": "user", "content": "x" * 600}])
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    engine.refuse = QueueFullError("full", retry_after=3)
    with pytest.raises(openai.RateLimitError) as full:
        ask()
    assert full.value.response.headers["retry-after"] == "3"
    engine.refuse = None
    engine.fail_after = 1
    with pytest.raises(openai.InternalServerError):
        ask()


def test_an_error_in_a_stream_is_raised(client: OpenAI, engine: FakeEngine) -> None:
    engine.fail_after = 2
    chunks = client.chat.completions.create(
        model="tiny/model", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    seen: list[str] = []
    with pytest.raises(openai.APIError, match="failed on this request"):
        seen.extend(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert "".join(seen) == "Hello world"
