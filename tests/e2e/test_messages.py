"""Anthropic's SDK with a real model: messages, streams, tools and thinking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from anthropic.types import Message
from running_server import RunningServer

from .servers import ServerFactory
from .test_tool_calls import (
    MODEL,
    POPULATION,
    QUESTION,
    THINKING_TEMPLATE,
    WEATHER,
)
from .tool_results import REPORT, check_report, tool_result

pytestmark = pytest.mark.e2e

TOOLS: Any = [
    {
        "name": tool["function"]["name"],
        "description": tool["function"]["description"],
        "input_schema": tool["function"]["parameters"],
    }
    for tool in (WEATHER, POPULATION)
]

GREEDY = {"temperature": 0}  # the SDK's newer versions have no argument for it


def sdk(server: RunningServer) -> Anthropic:
    return Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def client(serving: ServerFactory) -> Iterator[Anthropic]:
    with serving(MODEL, "--tokens", "16384") as server, sdk(server) as client:
        yield client


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_whole_and_streamed(client: Anthropic) -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 30,
        "extra_body": GREEDY,
        "system": "You answer in one word.",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    whole = client.messages.create(**asked)
    assert "Paris" in text_of(whole)
    assert whole.stop_reason == "end_turn"
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == text_of(final) == text_of(whole)
    assert final.usage.output_tokens == whole.usage.output_tokens
    counted = client.messages.count_tokens(
        model=MODEL, system=asked["system"], messages=asked["messages"]
    )
    read = final.usage.cache_read_input_tokens or 0
    assert counted.input_tokens == final.usage.input_tokens + read


def test_stops(client: Anthropic) -> None:
    asked: Any = {
        "model": MODEL,
        "extra_body": GREEDY,
        "messages": [
            {"role": "user", "content": "Count from 1 to 9, separated by commas."},
            {"role": "assistant", "content": "1, 2, 3,"},
        ],
    }
    message = client.messages.create(**asked, max_tokens=50, stop_sequences=["6"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "6")
    assert text_of(message).strip().startswith("4, 5")
    message = client.messages.create(**asked, max_tokens=2)
    assert message.stop_reason == "max_tokens"


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_loop(client: Anthropic, streams: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": QUESTION}]
    called: list[str] = []
    for _ in range(6):
        missing = {"get_weather", "get_population"} - set(called)
        asked: Any = {
            "model": MODEL,
            "max_tokens": 200,
            "extra_body": GREEDY,
            "messages": messages,
            "tools": TOOLS,
            "tool_choice": {"type": "any" if missing else "none"},
        }
        if not missing:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": REPORT}}
        if streams:
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**asked)
        if not missing:
            break
        assert message.stop_reason == "tool_use"
        messages.append({"role": "assistant", "content": message.content})
        results: list[Any] = []
        for block in message.content:
            if block.type == "tool_use":
                called.append(block.name)
                content = tool_result(block.name, block.input)
                results.append({"type": "tool_result", "tool_use_id": block.id, "content": content})
        messages.append({"role": "user", "content": results})
    assert message.stop_reason == "end_turn"
    check_report(text_of(message))


def test_a_named_tool(client: Anthropic) -> None:
    message = client.messages.create(
        model=MODEL,
        max_tokens=200,
        extra_body={"temperature": 1},
        messages=[{"role": "user", "content": "Tell me something about Łódź."}],
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_weather"},
    )
    (block,) = message.content
    assert block.type == "tool_use"
    assert block.name == "get_weather"
    assert set(block.input) == {"city", "unit"}


def test_thinking(serving: ServerFactory, tmp_path: Path) -> None:
    """A template makes the model think; what is in its thoughts does not matter."""
    template = tmp_path / "thinking.jinja"
    template.write_text(THINKING_TEMPLATE, encoding="utf-8")
    options = ["--tokens", "8192", "--chat_template", str(template), "--reasoning_parser", "qwen3"]
    asked: Any = {
        "model": MODEL,
        "max_tokens": 60,
        "extra_body": GREEDY,
        "messages": [{"role": "user", "content": "Tell a long story about 17 mice."}],
    }
    with serving(MODEL, *options) as server, sdk(server) as client:
        budget: Any = {"type": "enabled", "budget_tokens": 8}
        with client.messages.stream(**asked, thinking=budget) as stream:
            kinds = [event.type for event in stream]
            message = stream.get_final_message()
        assert kinds.index("thinking") < kinds.index("text")
        thinking, text = message.content
        assert thinking.type == "thinking"
        assert thinking.thinking
        assert text.type == "text"
        assert text.text
        message = client.messages.create(**asked, thinking={"type": "disabled"})
        assert [block.type for block in message.content] == ["text"]
