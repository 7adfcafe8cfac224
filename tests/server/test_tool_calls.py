"""Tools in /v1/chat/completions: what the model is told, and what becomes of its answer."""

from __future__ import annotations

import json

import pytest

from .api import Api, Json, chunks_of, error_of
from .fake_engine import FakeEngine
from .fake_model import says
from .tool_model import (
    TIME,
    WEATHER,
    call_text,
    prompt_of,
    streamed_message,
    tool_api,
)


@pytest.fixture
def tools_api(engine: FakeEngine) -> Api:
    return tool_api(engine)


def answers(api: Api, **fields: object) -> list[tuple[Json, str | None]]:
    """(message, finish reason) of the same request, whole and streamed; the ids of calls left out,
    as they differ."""
    (choice,) = api.chat(**fields).json()["choices"]
    message = {key: value for key, value in choice["message"].items() if value is not None}
    whole = (message, choice["finish_reason"])
    streamed = streamed_message(chunks_of(api.chat(stream=True, **fields)))
    for found, _ in (whole, streamed):
        ids = [call.pop("id") for call in found.get("tool_calls", [])]
        assert len(set(ids)) == len(ids)
        assert all(ids)
    return [whole, streamed]


def function(name: str, **arguments: object) -> Json:
    return {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def test_a_call(tools_api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("Let me look.\n" + call_text("get_weather", city='Łódź {"]'))
    for message, reason in answers(tools_api, tools=[WEATHER, TIME]):
        assert message == {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [function("get_weather", city='Łódź {"]')],
        }
        assert reason == "tool_calls"
    prompt = prompt_of(engine)
    told = {**WEATHER, "function": {**WEATHER["function"]}}
    assert prompt.startswith(f"(tool){json.dumps(told, ensure_ascii=False)}\n(tool)")
    assert '"name": "get_time", "parameters": {"type": "object", "properties": {}}' in prompt


def test_two_calls_and_no_text(tools_api: Api, engine: FakeEngine) -> None:
    text = call_text("get_weather", city="Rome", days=2) + "\n" + call_text("get_time")
    engine.script = lambda _: says(text)
    for message, reason in answers(tools_api, tools=[WEATHER, TIME]):
        assert message == {
            "role": "assistant",
            "tool_calls": [function("get_weather", city="Rome", days=2), function("get_time")],
        }
        assert reason == "tool_calls"
    body = tools_api.chat(tools=[WEATHER]).json()
    assert body["choices"][0]["message"]["content"] is None


def test_one_call_at_most(tools_api: Api, engine: FakeEngine) -> None:
    calls = [call_text("get_time"), call_text("get_weather", city="Rome"), call_text("get_time")]
    engine.script = lambda _: says("\n".join(calls) + "x" * 9000)
    engine.step_seconds = 0.001
    for message, reason in answers(tools_api, tools=[WEATHER, TIME], parallel_tool_calls=False):
        assert message["tool_calls"] == [function("get_time")]
        assert "content" not in message
        assert reason == "tool_calls"
    assert len(engine.aborted) == 2  # nothing is generated that nobody will see
    assert engine.wait_idle()


@pytest.mark.parametrize("choice", ["none", None])
def test_no_tools_to_choose_from(tools_api: Api, engine: FakeEngine, choice: str | None) -> None:
    text = call_text("get_time")
    engine.script = lambda _: says(text)
    tools = [TIME] if choice == "none" else []
    for message, reason in answers(tools_api, tools=tools, tool_choice=choice):
        assert message == {"role": "assistant", "content": text}
        assert reason == "stop"
    assert "(tool)" not in prompt_of(engine)


def test_text_that_only_looks_like_a_call_is_text(tools_api: Api, engine: FakeEngine) -> None:
    text = "A <tool_call> is a tag, <tool"
    engine.script = lambda _: says(text)
    for message, reason in answers(tools_api, tools=[TIME]):
        assert message == {"role": "assistant", "content": text}
        assert reason == "stop"


@pytest.mark.parametrize("limit", range(1, 80, 3))
def test_a_call_that_is_cut_off(tools_api: Api, engine: FakeEngine, limit: int) -> None:
    text = call_text("get_weather", city="Rome", days=12345)
    engine.script = lambda _: says(text)
    fields: Json = {"tools": [WEATHER], "max_tokens": min(limit, len(text) - 1)}
    (message, reason), streamed = answers(tools_api, **fields)
    assert (message, reason) == streamed or message.get("content", "") == ""
    assert reason == "length"
    for call in message.get("tool_calls", []):
        assert '{"city": "Rome", "days": 12345}'.startswith(call["function"]["arguments"])


def test_special_tokens_are_seen_and_ends_are_not(engine: FakeEngine) -> None:
    api = tool_api(engine)
    engine.script = lambda _: [*b"a", 257, *b"b<bos>", 257]  # ignore_eos lets an end pass
    (message, _), _ = answers(api, tools=[TIME], ignore_eos=True)
    assert message["content"] == "ab<bos>"


def test_a_model_without_a_dialect_cannot_call(engine: FakeEngine) -> None:
    api = tool_api(engine, tool_call_parser="none")
    error = error_of(api.chat(tools=[TIME]), 400)
    assert error["param"] == "tools"
    assert "--tool_call_parser" in error["message"]
    assert "hermes" in error["message"]
    assert api.chat(tools=[TIME], tool_choice="none").status_code == 200
    assert api.chat(tools=[]).status_code == 200


def test_a_template_without_tools_cannot_call(engine: FakeEngine) -> None:
    api = tool_api(engine, template="{% for m in messages %}{{ m.content }}{% endfor %}")
    error = error_of(api.chat(tools=[TIME]), 400)
    assert (error["param"], "--chat_template" in error["message"]) == ("tools", True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": "x"}, "tools"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "custom", "function": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        (
            {"tools": [TIME, {"type": "function", "function": {"name": ""}}]},
            "tools[1].function.name",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "x" * 65}}]},
            "tools[0].function.name",
        ),
        ({"tools": [TIME, TIME]}, "tools[1].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        (
            {
                "tools": [
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}
                ]
            },
            "tools[0].function.parameters",
        ),
        (
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "parameters": {"properties": {"a": 1}}},
                    }
                ]
            },
            "tools[0].function.parameters",
        ),
        ({"tools": [TIME | {"cache": 1}]}, "tools[0].cache"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name",
        ),
        (
            {"tools": [TIME], "tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
            "tool_choice.allowed_tools.mode",
        ),
        (
            {
                "tools": [TIME],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": []},
                },
            },
            "tool_choice.allowed_tools.tools",
        ),
        (
            {
                "tools": [TIME],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [WEATHER]},
                },
            },
            "tool_choice.allowed_tools.tools[0]",
        ),
        ({"tools": [TIME], "parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [{"name": "f"}], "tools": [TIME]}, "tools"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call.name"),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_field_is_named(
    tools_api: Api, engine: FakeEngine, fields: Json, param: str, stream: bool
) -> None:
    assert error_of(tools_api.chat(stream=stream, **fields), 400)["param"] == param
    assert engine.requests == []


def test_functions_are_answered_in_their_own_shape(tools_api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says(call_text("get_time") + "\n" + call_text("get_time"))
    functions = [TIME["function"]]
    (choice,) = tools_api.chat(functions=functions).json()["choices"]
    assert choice["finish_reason"] == "function_call"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": {"name": "get_time", "arguments": "{}"},
    }
    chunks = chunks_of(tools_api.chat(functions=functions, stream=True))
    deltas = [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks]
    pieces = [delta for delta in deltas if delta is not None]
    assert pieces[0] == {"name": "get_time", "arguments": ""}
    assert "".join(piece["arguments"] for piece in pieces) == "{}"
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_logprobs_are_those_of_the_content(tools_api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>hm</think>Yes <b>!\n" + call_text("get_time"))
    fields: Json = {"tools": [TIME], "logprobs": True}
    (choice,) = tools_api.chat(**fields).json()["choices"]
    assert choice["message"]["content"] == "Yes <b>!"
    content = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in content) == "Yes <b>!"
    streamed = []
    for chunk in chunks_of(tools_api.chat(stream=True, **fields)):
        (choice,) = chunk["choices"]
        streamed += (choice["logprobs"] or {"content": []})["content"]
    assert streamed == content


def test_token_ids_are_all_of_them(tools_api: Api, engine: FakeEngine) -> None:
    script = says("a" + call_text("get_time"))
    engine.script = lambda _: script
    fields: Json = {"tools": [TIME], "return_token_ids": True}
    (choice,) = tools_api.chat(**fields).json()["choices"]
    assert choice["token_ids"] == script
    chunks = chunks_of(tools_api.chat(stream=True, **fields))
    ids = [chunk["choices"][0].get("token_ids", []) for chunk in chunks]
    assert [token_id for part in ids for token_id in part] == script


def test_the_prompt_can_be_looked_at(tools_api: Api, engine: FakeEngine) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    tokens = tools_api.post("/tokenize", {"messages": messages, "tools": [TIME]}).json()["tokens"]
    tools_api.chat("Hi", tools=[TIME])
    assert tuple(tokens) == engine.requests[-1].prompt_ids


def test_the_parsers_are_shown(tools_api: Api) -> None:
    (card,) = tools_api.get("/v1/models").json()["data"]
    assert card["tool_call_parser"] == {"name": "hermes", "reason": "--tool_call_parser hermes"}
    assert card["reasoning_parser"]["name"] == "qwen3"


@pytest.mark.parametrize(
    ("tool_call_parser", "reasoning_parser", "text", "call_id"),
    [
        (
            "openai",
            "openai_gptoss",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary"
            ' to=functions.get_weather <|constrain|>json<|message|>{"city":"Rome"}',
            "",
        ),
        (
            "kimi_k2",
            "kimi_k2",
            "<think>Hm.</think><|tool_calls_section_begin|><|tool_call_begin|>"
            'functions.get_weather:3<|tool_call_argument_begin|>{"city":"Rome"}'
            "<|tool_call_end|><|tool_calls_section_end|>",
            "functions.get_weather:3",
        ),
        (
            "mistral",
            "mistral",
            '[THINK]Hm.[/THINK][TOOL_CALLS]get_weather[CALL_ID]a1b2c3d4e[ARGS]{"city":"Rome"}',
            "a1b2c3d4e",
        ),
        (
            "qwen3_coder",
            "qwen3",
            "<think>\nHm.\n</think>\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n"
            "</parameter>\n</function>\n</tool_call>",
            "",
        ),
        ("llama3_json", "none", '{"name": "get_weather", "parameters": {"city": "Rome"}}', ""),
        ("pythonic", "none", "[get_weather(city='Rome')]", ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_dialects(
    engine: FakeEngine,
    tool_call_parser: str,
    reasoning_parser: str,
    text: str,
    call_id: str,
    stream: bool,
) -> None:
    api = tool_api(engine, tool_call_parser=tool_call_parser, reasoning_parser=reasoning_parser)
    engine.script = lambda _: says(text)
    response = api.chat(tools=[WEATHER], stream=stream)
    if stream:
        message, reason = streamed_message(chunks_of(response))
    else:
        (choice,) = response.json()["choices"]
        message, reason = choice["message"], choice["finish_reason"]
    (made,) = message["tool_calls"]
    assert made["function"]["name"] == "get_weather"
    assert json.loads(made["function"]["arguments"]) == {"city": "Rome"}
    assert message.get("reasoning") == (None if reasoning_parser == "none" else "Hm.")
    assert not message.get("content")
    assert reason == "tool_calls"
    assert made["id"] == call_id or not call_id
