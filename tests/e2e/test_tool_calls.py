"""Tools, formats and thinking with a real model, through the OpenAI SDK as its users write it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel
from running_server import RunningServer

from .servers import ServerFactory, sdk
from .tool_results import REPORT, check_report, tool_result

pytestmark = pytest.mark.e2e

MODEL = "qwen2.5-coder-0.5b"
ROUNDS = 20  # of each kind of call; benchmarks/tool_calls.py makes a hundred
Json = dict[str, Any]

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Today's weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["C", "F"]},
            },
            "required": ["city", "unit"],
        },
    },
}
POPULATION: Json = {
    "type": "function",
    "function": {
        "name": "get_population",
        "description": "Number of people who live in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
TOOLS = [WEATHER, POPULATION]
QUESTION = (
    "What is the weather in Paris, and how many people live there? Call both functions, each once."
)
FORMAT: Json = {
    "type": "json_schema",
    "json_schema": {"name": "report", "strict": True, "schema": REPORT},
}


class Conversation:
    """The loop that every agent runs: ask, call, tell, ask again. The model is too small to come to
    the point by itself: it is told when to call, and in which form to answer."""

    def __init__(self) -> None:
        self.messages: list[Any] = [{"role": "user", "content": QUESTION}]
        self.called: list[str] = []

    @property
    def fields(self) -> Json:
        """Calls until both functions have been called, then an answer."""
        missing = {"get_weather", "get_population"} - set(self.called)
        fields = {
            "model": MODEL,
            "messages": self.messages,
            "tools": TOOLS,
            "temperature": 0,
            "max_tokens": 200,
        }
        if missing:
            return {**fields, "tool_choice": "required"}
        return {**fields, "tool_choice": "none", "response_format": FORMAT}

    def take(self, message: ChatCompletionMessage, finish_reason: str | None) -> str | None:
        """The final answer, once it comes."""
        self.messages.append(message)
        if not message.tool_calls:
            assert finish_reason == "stop"
            return message.content
        assert finish_reason == "tool_calls"
        for made in message.tool_calls:
            assert made.type == "function"
            self.called.append(made.function.name)
            content = tool_result(made.function.name, json.loads(made.function.arguments))
            self.messages.append({"role": "tool", "tool_call_id": made.id, "content": content})
        assert len(self.called) < 6
        return None

    def check(self, answer: str) -> None:
        """It can only be known from the results."""
        assert set(self.called) == {"get_weather", "get_population"}
        check_report(answer)


@pytest.fixture(scope="module")
def server(serving: ServerFactory) -> Iterator[RunningServer]:
    with serving(MODEL, "--tokens", "16384") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[OpenAI]:
    with sdk(server) as client:
        yield client


def test_the_dialect_is_told_by_the_template(client: OpenAI) -> None:
    (card,) = client.models.list()
    assert card.model_extra is not None
    assert card.model_extra["tool_call_parser"]["name"] == "hermes"
    assert "chat template" in card.model_extra["tool_call_parser"]["reason"]
    assert card.model_extra["reasoning_parser"]["name"] is None


def test_a_tool_loop(client: OpenAI) -> None:
    talk = Conversation()
    answer = None
    while answer is None:
        (choice,) = client.chat.completions.create(**talk.fields).choices
        answer = talk.take(choice.message, choice.finish_reason)
    talk.check(answer)


def test_a_tool_loop_without_waiting(client: OpenAI) -> None:
    async def run() -> None:
        talk = Conversation()
        answer = None
        async with AsyncOpenAI(
            base_url=client.base_url, api_key="none", max_retries=0, timeout=120
        ) as waiting:
            while answer is None:
                (choice,) = (await waiting.chat.completions.create(**talk.fields)).choices
                answer = talk.take(choice.message, choice.finish_reason)
        talk.check(answer)

    asyncio.run(run())


def test_a_tool_loop_in_streams(client: OpenAI) -> None:
    """The SDK's own accumulation of deltas, and the events that it makes of them."""
    talk = Conversation()
    answer = None
    arguments: list[str] = []
    while answer is None:
        with client.chat.completions.stream(**talk.fields) as stream:
            for event in stream:
                if event.type == "tool_calls.function.arguments.done":
                    arguments.append(event.arguments)
            (choice,) = stream.get_final_completion().choices
        answer = talk.take(choice.message, choice.finish_reason)
    talk.check(answer)
    assert len(arguments) == len(talk.called)
    assert all(json.loads(text)["city"] == "Paris" for text in arguments)


@pytest.mark.parametrize("strict", [False, True])
def test_calls_that_the_model_writes_without_their_marker(client: OpenAI, *, strict: bool) -> None:
    """In auto mode this model puts most of them into a fence, or leaves them bare."""
    called = 0
    for city in ("Paris", "Oslo", "Rome", "Tokyo"):
        tool = {**WEATHER, "function": {**WEATHER["function"], "strict": strict}}
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"What is the weather in {city}, in C?"}],
            tools=[tool],
            temperature=0,
            max_tokens=100,
        )  # type: ignore[call-overload]
        (choice,) = answer.choices
        for made in choice.message.tool_calls or ():
            assert choice.finish_reason == "tool_calls"
            assert choice.message.content is None
            assert city in json.loads(made.function.arguments)["city"]
            assert not strict or is_valid(made.function.name, made.function.arguments)
            called += 1
    assert called >= 3


def is_valid(name: str, arguments: str) -> bool:
    parsed = json.loads(arguments)
    extra = set(parsed) - {"city", "unit"} if name == "get_weather" else set(parsed) - {"city"}
    if extra or not isinstance(parsed["city"], str):
        return False
    return name == "get_population" or parsed["unit"] in ("C", "F")


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "get_weather"}}]
)
def test_calls_that_are_asked_for_are_valid(client: OpenAI, choice: object) -> None:
    for seed in range(ROUNDS // 4):
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Tell me something about Łódź."}],
            tools=TOOLS,
            tool_choice=choice,
            parallel_tool_calls=False,
            temperature=1,
            max_tokens=200,
            seed=seed,
            n=4,
        )  # type: ignore[call-overload]
        for each in answer.choices:
            assert each.finish_reason == "tool_calls"
            (made,) = each.message.tool_calls
            assert is_valid(made.function.name, made.function.arguments), made
            if choice != "required":
                assert made.function.name == "get_weather"


class Size(str, Enum):
    SMALL = "small"
    LARGE = "large"


class City(BaseModel):
    name: str
    country: str
    size: Size
    is_capital: bool


def test_answers_are_parsed_into_a_model(client: OpenAI) -> None:
    for parse in (client.chat.completions.parse, client.beta.chat.completions.parse):
        answer = parse(
            model=MODEL,
            messages=[{"role": "user", "content": "Describe Paris in JSON."}],
            response_format=City,
            temperature=0,
            max_tokens=200,
        )
        city = answer.choices[0].message.parsed
        assert isinstance(city, City)
        assert "Paris" in city.name


def test_calls_are_parsed_into_a_model(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Store what you know about Paris."}],
        tools=[openai.pydantic_function_tool(City, name="store_city")],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=1,
        seed=1,
        max_tokens=200,
    )
    (made,) = answer.choices[0].message.tool_calls or []
    assert made.function.name == "store_city"
    assert isinstance(made.function.parsed_arguments, City)


THINKING_TEMPLATE = """\
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{{ "<think>\\n" if enable_thinking | default(true) else "" }}{% endif %}"""


def test_thinking_is_limited_and_turned_off(serving: ServerFactory, tmp_path: Path) -> None:
    """A template makes the model think; what is in its thoughts does not matter."""
    template = tmp_path / "thinking.jinja"
    template.write_text(THINKING_TEMPLATE, encoding="utf-8")
    options = ["--tokens", "8192", "--chat_template", str(template), "--reasoning_parser", "qwen3"]
    with serving(MODEL, *options) as server, sdk(server) as client:

        def ask(**fields: Any) -> tuple[ChatCompletionMessage, int]:
            answer = client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": "Tell a long story about 17 mice."}],
                temperature=0,
                max_tokens=60,
                **fields,
            )
            assert answer.usage is not None
            details = answer.usage.completion_tokens_details
            assert details is not None
            return answer.choices[0].message, details.reasoning_tokens or 0

        message, thought = ask(extra_body={"ignore_eos": True})
        assert (message.content, thought) == (None, 60)
        assert message.model_extra is not None
        free = message.model_extra["reasoning"]
        assert message.model_extra["reasoning_content"] == free

        format = {"type": "json_object"}
        message, thought = ask(extra_body={"thinking_token_budget": 8}, response_format=format)
        assert message.model_extra is not None
        assert free.startswith(message.model_extra["reasoning"])
        assert 8 <= thought <= 8 + len("</think>")  # the marker is text to this vocabulary
        assert (message.content or "").lstrip().startswith("{")

        message, thought = ask(reasoning_effort="none")
        assert message.content
        assert not message.model_extra
        assert thought == 0
