"""What clients send back: calls, results and thinking of earlier turns."""

from __future__ import annotations

import json

import pytest

from .api import Api, Json, error_of
from .fake_engine import FakeEngine
from .fake_model import says
from .tool_model import TIME, WEATHER, call_text, prompt_of, tool_api

USER: Json = {"role": "user", "content": "Hi"}


def call(call_id: str, name: str = "get_time", arguments: object = "{}") -> Json:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def calls(*members: Json, **fields: object) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(members), **fields}


def result(call_id: str, content: object = "9:30", **fields: object) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


@pytest.fixture
def tools_api(engine: FakeEngine) -> Api:
    return tool_api(engine)


@pytest.mark.parametrize("arguments", ['{"city": "Łódź"}', {"city": "Łódź"}])
def test_a_whole_round_is_rendered(tools_api: Api, engine: FakeEngine, arguments: object) -> None:
    history = [
        {"role": "developer", "content": "Be kind."},
        USER,
        calls(call("a", "get_weather", arguments), call("b"), content="Let me see."),
        result("b"),
        result("a", [{"type": "text", "text": "sunny"}, {"type": "text", "text": "19 °C"}]),
    ]
    assert tools_api.chat(messages=history, tools=[WEATHER]).status_code == 200
    _, _, prompt = prompt_of(engine).partition("}\n")
    assert prompt == (
        "[system]Be kind.\n[user]Hi\n[assistant]Let me see."
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Łódź"}}</tool_call>'
        '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>\n'
        "[tool]9:30(b get_time)\n[tool]sunny\n19 °C(a get_weather)\n[assistant]"
    )


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_is_taken_back(tools_api: Api, engine: FakeEngine, name: str) -> None:
    history = [USER, {"role": "assistant", "content": "Hello", name: "A greeting."}, USER]
    assert tools_api.chat(messages=history).status_code == 200
    assert "[assistant]<think>A greeting.</think>Hello\n" in prompt_of(engine)


def test_an_answer_can_be_sent_back_as_it_came(tools_api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>I call.</think>" + call_text("get_weather", city="Rome"))
    message = tools_api.chat(tools=[WEATHER]).json()["choices"][0]["message"]
    (made,) = message["tool_calls"]
    history = [USER, message, result(made["id"])]
    assert tools_api.chat(messages=history, tools=[WEATHER]).status_code == 200
    assert (
        "[assistant]<think>I call.</think>"
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>\n'
        f"[tool]9:30({made['id']} get_weather)\n"
    ) in prompt_of(engine)


def test_what_says_nothing_passes(tools_api: Api, engine: FakeEngine) -> None:
    empty = {"content": "a", "tool_calls": [], "function_call": None, "refusal": None}
    without_type = {"id": "a", "index": 0, "function": {"name": "x.y", "arguments": ""}}
    history = [USER, {"role": "assistant", **empty}, USER, calls(without_type), result("a", "")]
    assert tools_api.chat(messages=history).status_code == 200
    assert '<tool_call>{"name": "x.y", "arguments": {}}</tool_call>' in prompt_of(engine)


def test_functions_are_calls_of_an_older_shape(tools_api: Api, engine: FakeEngine) -> None:
    old = {"name": "get_time", "arguments": '{"zone": "UTC"}'}
    history = [
        USER,
        {"role": "assistant", "content": None, "function_call": old},
        {"role": "function", "name": "get_time", "content": "9:30"},
    ]
    response = tools_api.chat(messages=history, functions=[TIME["function"]])
    assert response.status_code == 200
    prompt = prompt_of(engine)
    assert '<tool_call>{"name": "get_time", "arguments": {"zone": "UTC"}}</tool_call>' in prompt
    assert "[tool]9:30(" in prompt


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, result("a")], "messages[1].tool_call_id"),
        ([USER, calls(call("a")), result("b")], "messages[2].tool_call_id"),
        ([USER, calls(call("a")), USER], "messages[1].tool_calls"),
        ([USER, calls(call("a"), call("b")), result("a")], "messages[1].tool_calls"),
        ([USER, calls(call("a"), call("b")), result("a"), USER], "messages[1].tool_calls"),
        ([USER, calls(call("a")), result("a"), USER, result("a")], "messages[4].tool_call_id"),
        ([calls(call("a")), {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([calls(call("a")), result("a", None)], "messages[1].content"),
        ([calls(call("a")), result("a", 5)], "messages[1].content"),
        ([calls(call("a", arguments=5))], "messages[0].tool_calls[0].function.arguments"),
        ([calls(call("a", arguments=None))], "messages[0].tool_calls[0].function.arguments"),
        ([calls(call("a", ""))], "messages[0].tool_calls[0].function.name"),
        ([calls(call(""))], "messages[0].tool_calls[0].id"),
        ([calls({"function": {"name": "f", "arguments": ""}})], "messages[0].tool_calls[0].id"),
        ([calls({"id": "a", "type": "custom"})], "messages[0].tool_calls[0].type"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{**USER, "tool_calls": [call("a")]}], "messages[0].tool_calls"),
        ([{**USER, "tool_call_id": "a"}], "messages[0].tool_call_id"),
        ([{**USER, "reasoning": "hm"}], "messages[0].reasoning"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([USER, {"role": "function", "content": "x"}], "messages[1].name"),
        ([USER, {"role": "function", "name": "f", "content": "x"}], "messages[1].name"),
    ],
)
def test_what_does_not_fit_is_named(
    tools_api: Api, engine: FakeEngine, messages: list[Json], param: str
) -> None:
    error = error_of(tools_api.chat(messages=messages), 400)
    assert error["param"] == param
    assert param in error["message"]
    assert engine.requests == []


def test_many_open_calls_give_a_short_error(tools_api: Api) -> None:
    many = calls(*(call("x" * 900 + str(place)) for place in range(200)))
    assert len(error_of(tools_api.chat(messages=[USER, many]), 400)["message"]) < 2000


def test_a_big_history_in_json(tools_api: Api, engine: FakeEngine) -> None:
    big = json.dumps({"text": "x" * 9000})
    history = [USER, calls(call("a", "write", big)), result("a")]
    assert tools_api.chat(messages=history).status_code == 200
    assert "x" * 9000 in prompt_of(engine)
