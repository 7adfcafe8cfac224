"""The Responses API with a real model, through the OpenAI SDK as its users write it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.responses import Response

from .servers import ServerFactory, sdk
from .test_tool_calls import MODEL, POPULATION, QUESTION, WEATHER, City
from .tool_results import REPORT, check_report, tool_result

pytestmark = pytest.mark.e2e

TOOLS: Any = [
    {"type": "function", "strict": True, **tool["function"]} for tool in (WEATHER, POPULATION)
]
FORMAT: Any = {"type": "json_schema", "name": "report", "strict": True, "schema": REPORT}


@pytest.fixture(scope="module")
def client(serving: ServerFactory) -> Iterator[OpenAI]:
    with serving(MODEL, "--tokens", "16384") as server, sdk(server) as client:
        yield client


def test_a_streaming_tool_loop(client: OpenAI) -> None:
    """Each turn sends the results alone; the server knows the rest."""
    items: Any = QUESTION
    called: list[str] = []
    previous: str | None = None
    for _ in range(6):
        missing = {"get_weather", "get_population"} - set(called)
        asked: Any = {"previous_response_id": previous} if previous else {}
        if not missing:
            asked["text"] = {"format": FORMAT}
        with client.responses.stream(
            model=MODEL,
            input=items,
            tools=TOOLS,
            tool_choice="required" if missing else "none",
            temperature=0,
            max_output_tokens=200,
            **asked,
        ) as stream:
            numbers = [event.sequence_number for event in stream]  # type: ignore[union-attr]
            response = stream.get_final_response()
        assert numbers == sorted(set(numbers))
        assert response.status == "completed"
        if not missing:
            break
        previous, items = response.id, []
        for item in response.output:
            assert item.type == "function_call"
            called.append(item.name)
            output = tool_result(item.name, json.loads(item.arguments))
            items.append(
                {"type": "function_call_output", "call_id": item.call_id, "output": output}
            )
    check_report(response.output_text)

    stored = client.responses.retrieve(response.id)
    assert stored.output_text == response.output_text
    listed = list(client.responses.input_items.list(response.id, order="asc"))
    assert listed[0].type == "message"
    assert sum(item.type == "function_call_output" for item in listed) == len(called)
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_streamed_text_is_the_whole_text(client: OpenAI) -> None:
    asked: Any = {
        "model": MODEL,
        "instructions": "You answer in one word.",
        "input": "What is the capital of France?",
        "temperature": 0,
        "max_output_tokens": 20,
    }
    whole = client.responses.create(**asked)
    assert isinstance(whole, Response)
    assert "Paris" in whole.output_text
    text = ""
    for event in client.responses.create(**asked, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
    assert text == whole.output_text
    counted = client.responses.input_tokens.count(
        model=MODEL, input=asked["input"], instructions=asked["instructions"]
    )
    assert whole.usage is not None
    assert counted.input_tokens == whole.usage.input_tokens


def test_answers_are_parsed_into_a_model(client: OpenAI) -> None:
    response = client.responses.parse(
        model=MODEL,
        input="Describe Paris in JSON.",
        text_format=City,
        temperature=0,
        max_output_tokens=200,
    )
    assert isinstance(response.output_parsed, City)
    assert "Paris" in response.output_parsed.name


def test_in_the_background(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input="Tell a long story.", background=True, max_output_tokens=2000
    )
    assert response.status == "in_progress"
    assert client.responses.cancel(response.id).status == "cancelled"
