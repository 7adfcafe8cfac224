"""Anthropic's SDK against the real server, with a scripted engine behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import listening
from .fake_engine import FakeEngine
from .fake_model import says
from .tool_model import call_text, prompt_of, tool_model

KEY = "sk-test"
WEATHER: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
ASKED: Any = {
    "model": "tiny/model",
    "max_tokens": 500,
    "messages": [{"role": "user", "content": "Weather?"}],
    "tools": [WEATHER],
    "thinking": {"type": "adaptive"},
}


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[Anthropic]:
    settings = ServerSettings(api_keys=(KEY,), tool_call_parser="hermes", reasoning_parser="qwen3")
    with (
        listening(create_app(tool_model(engine), settings)) as url,
        Anthropic(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        yield client


@pytest.mark.parametrize("streams", [False, True])
def test_an_answer_can_be_sent_back_as_it_came(
    client: Anthropic, engine: FakeEngine, streams: bool
) -> None:
    engine.script = lambda _: says(
        "<think>Hm.</think>I look.\n" + call_text("get_weather", city="Rome")
    )
    if streams:
        with client.messages.stream(**ASKED) as stream:
            kinds = {event.type for event in stream}
            message = stream.get_final_message()
        assert {"thinking", "signature", "text", "input_json", "message_stop"} <= kinds
    else:
        message = client.messages.create(**ASKED)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.stop_reason == "tool_use"
    call = message.content[-1]
    assert call.type == "tool_use"
    assert call.input == {"city": "Rome"}
    assert message.usage.output_tokens > 10

    engine.script = lambda _: says("Snow.")
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "Snow."}
    history = [
        *ASKED["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(**{**ASKED, "messages": history})
    assert answer.content[0].type == "text"
    assert answer.content[0].text == "Snow."
    assert "<think>Hm.</think>I look." in prompt_of(engine)
    assert f"[tool]Snow.({call.id} get_weather)" in prompt_of(engine)


def test_tokens_are_counted(client: Anthropic) -> None:
    counted = client.messages.count_tokens(
        model="tiny/model", messages=ASKED["messages"], tools=[WEATHER]
    )
    assert counted.input_tokens > 50


def test_errors_become_exceptions(client: Anthropic, engine: FakeEngine) -> None:
    with pytest.raises(anthropic.NotFoundError, match="claude"):
        client.messages.create(**{**ASKED, "model": "claude-none"})
    with pytest.raises(anthropic.BadRequestError, match="top_p") as refused:
        client.messages.create(**ASKED, extra_body={"top_p": 7.0})
    assert refused.value.request_id
    wrong = client.with_options(api_key="sk-wrong")
    with pytest.raises(anthropic.AuthenticationError):
        wrong.messages.create(**ASKED)
    engine.fail_after = 1
    with (
        pytest.raises(anthropic.APIStatusError, match="failed"),
        client.messages.stream(**ASKED) as stream,
    ):
        list(stream)
