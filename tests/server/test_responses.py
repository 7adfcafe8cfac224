"""/v1/responses: items in, items and events out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, Json, error_of, events_of, listening
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import FakeModel, says
from .tool_model import TEMPLATE, call_text, prompt_of, tool_api, tool_model

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Today's weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
TIME: Json = {"type": "function", "name": "get_time", "parameters": None, "strict": None}
CALL: Json = {
    "type": "function_call",
    "call_id": "c1",
    "name": "get_weather",
    "arguments": '{"city": "Rome"}',
}
RESULT: Json = {"type": "function_call_output", "call_id": "c1", "output": "Snow."}


@pytest.fixture
def api(engine: FakeEngine) -> Api:
    return tool_api(engine)


def steps(events: list[Json]) -> list[str]:
    """Types of the events without `response.`, runs of equal ones as one."""
    kinds = [event["type"].removeprefix("response.") for event in events]
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def assembled(events: list[Json]) -> Json:
    """The response of the last event. Checks that the events before it build the same output."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[0]["response"]["output"] == []
    output: list[Json] = []
    text = ""
    for event in events[2:-1]:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(output)
            assert event["item"]["status"] == "in_progress"
            output.append(event["item"])
            text = ""
            continue
        assert event["output_index"] == len(output) - 1
        if kind == "output_item.done":
            assert event["item"]["id"] == output[-1]["id"]
            output[-1] = event["item"]
            continue
        assert event["item_id"] == output[-1]["id"]
        if kind.endswith(".delta"):
            text += event["delta"]
        elif kind == "function_call_arguments.done":
            assert (event["name"], event["arguments"]) == (output[-1]["name"], text)
        elif kind in ("output_text.done", "reasoning_text.done"):
            assert event["text"] == text
        elif kind == "content_part.done":
            assert event["part"]["text"] == text
    response = events[-1]["response"]
    assert events[-1]["type"] == f"response.{response['status']}"
    assert response["output"] == output
    return dict(response)


def answers(api: Api, input: object = "Hi", **fields: object) -> list[Json]:
    """The same response, whole and streamed; without what differs between any two."""
    whole = api.respond(input, **fields)
    assert whole.status_code == 200, whole.text
    both = [whole.json(), assembled(events_of(api.respond(input, stream=True, **fields)))]
    for response in both:
        assert response.pop("id").startswith("resp_")
        ids = [item.pop("id") for item in response["output"]]
        assert len(set(ids)) == len(ids)
        for name in ("created_at", "completed_at"):
            response.pop(name)
        for item in response["output"]:
            item.pop("call_id", None)
    assert both[0] == both[1]
    return both


def test_text(api: Api, engine: FakeEngine) -> None:
    for response in answers(api, instructions="Short.", metadata={"a": "b"}, store=False):
        (item,) = response["output"]
        assert item == {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "Hello world!", "annotations": [], "logprobs": []}
            ],
        }
        prompt = len(engine.requests[0].prompt_ids)
        assert response["usage"] == {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + 4,
        }
        assert (response["status"], response["error"]) == ("completed", None)
        assert (response["instructions"], response["metadata"]) == ("Short.", {"a": "b"})
        assert response["store"] is False
    assert prompt_of(engine) == "[system]Short.\n[user]Hi\n[assistant]"


def test_every_event_comes_in_order(api: Api, engine: FakeEngine) -> None:
    text = f"<think>Hm.</think>Look.{call_text('get_weather', city='Rome')}"
    engine.script = lambda _: says(text)
    assert steps(events_of(api.respond(stream=True, tools=[WEATHER]))) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]


def test_thinking_and_calls_are_items(api: Api, engine: FakeEngine) -> None:
    calls = call_text("get_weather", city="Łódź") + call_text("get_time")
    engine.script = lambda _: says(f"<think>Hm. 🤔</think>{calls}")
    for response in answers(api, tools=[WEATHER, TIME], include=["reasoning.encrypted_content"]):
        thinking, weather, clock = response["output"]
        assert thinking["type"] == "reasoning"
        assert thinking["summary"] == []
        assert thinking["content"] == [{"type": "reasoning_text", "text": "Hm. 🤔"}]
        assert weather["type"] == "function_call"
        assert weather["name"] == "get_weather"
        assert json.loads(weather["arguments"]) == {"city": "Łódź"}
        assert (clock["name"], clock["status"]) == ("get_time", "completed")
        assert response["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
        assert response["tools"][0] == WEATHER


def test_an_answer_that_is_cut_off(api: Api) -> None:
    for response in answers(api, max_output_tokens=2):
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        (item,) = response["output"]
        assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hello world")


def test_logprobs(api: Api) -> None:
    include = ["message.output_text.logprobs"]
    for response in answers(api, include=include, top_logprobs=1):
        logprobs = response["output"][0]["content"][0]["logprobs"]
        assert [entry["token"] for entry in logprobs][:3] == ["Hello", " world", "!"]
        assert all(len(entry["top_logprobs"]) == 1 for entry in logprobs)
    events = events_of(api.respond(stream=True, include=include))
    deltas = [event for event in events if event["type"].endswith("output_text.delta")]
    assert deltas[0]["logprobs"][0]["token"] == "Hello"


HISTORY: list[Json] = [
    {"role": "developer", "content": "Be kind."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
    {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "Look."}],
        "encrypted_content": None,
    },
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    CALL,
    RESULT,
    {"role": "user", "content": "And now?"},
]


def test_a_history(api: Api, engine: FakeEngine) -> None:
    answers(api, HISTORY, instructions="Be brief.")
    assert prompt_of(engine) == (
        "[system]Be brief.\nBe kind.\n"
        "[user]Weather?\n"
        "[assistant]<think>Look.</think>I look."
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>\n'
        "[tool]Snow.(c1 get_weather)\n"
        "[user]And now?\n[assistant]"
    )


def test_a_loop_with_previous_response_id(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>Hm.</think>" + call_text("get_weather", city="Rome"))
    asked = {"tools": [WEATHER], "instructions": "Be kind."}
    first = assembled(events_of(api.respond("Weather?", stream=True, **asked)))
    call = first["output"][1]
    engine.script = lambda _: says("Snow, as it seems.")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "Snow."}
    second = api.respond([result], previous_response_id=first["id"], tools=[WEATHER]).json()
    assert second["previous_response_id"] == first["id"]
    assert second["output"][0]["content"][0]["text"] == "Snow, as it seems."
    api.respond("Really?", previous_response_id=second["id"])
    assert prompt_of(engine) == (
        "[user]Weather?\n[assistant]<think>Hm.</think>"
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>\n'
        f"[tool]Snow.({call['call_id']} get_weather)\n"
        "[assistant]Snow, as it seems.\n[user]Really?\n[assistant]"
    )


def test_a_response_can_be_asked_for_again_and_deleted(api: Api) -> None:
    response = api.respond(HISTORY).json()
    path = f"/v1/responses/{response['id']}"
    assert api.get(path).json() == response
    deleted = api.send("DELETE", path).json()
    assert deleted == {"id": response["id"], "object": "response", "deleted": True}
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/cancel")):
        error = error_of(api.send(method, where), 404)
        assert error["code"] == "response_not_found"
    error = error_of(api.get(f"{path}/input_items"), 404)
    assert response["id"] in error["message"]
    error = error_of(api.respond(previous_response_id=response["id"]), 400)
    assert error["code"] == "previous_response_not_found"
    assert error["param"] == "previous_response_id"


def test_what_is_not_to_be_stored_is_not(api: Api, engine: FakeEngine) -> None:
    response = api.respond(store=False).json()
    error_of(api.get(f"/v1/responses/{response['id']}"), 404)
    forgetful = Api(create_app(tool_model(engine), ServerSettings(stored_responses=0)))
    assert forgetful.respond().json()["store"] is False
    assert error_of(forgetful.respond(store=True), 400)["param"] == "store"


def test_input_items_in_pages(api: Api) -> None:
    response = api.respond(HISTORY).json()
    path = f"/v1/responses/{response['id']}/input_items"
    listed = api.get(f"{path}?order=asc").json()
    assert [item["type"] for item in listed["data"]] == [
        item.get("type", "message") for item in HISTORY
    ]
    assert listed["data"][0]["content"] == [{"type": "input_text", "text": "Be kind."}]
    assert listed["data"][2]["id"] == "rs_1"
    assert listed["has_more"] is False
    newest = api.get(f"{path}?limit=2").json()
    assert newest["data"] == listed["data"][:-3:-1]
    assert newest["has_more"] is True
    after = api.get(f"{path}?limit=100&after={newest['last_id']}").json()
    assert after["data"] == listed["data"][-3::-1]
    for query in ("limit=0", "limit=x", "order=up", "after=nothing"):
        assert error_of(api.get(f"{path}?{query}"), 400)["param"] == query.partition("=")[0]


def test_tokens_are_counted(api: Api, engine: FakeEngine) -> None:
    response = api.respond(HISTORY, tools=[WEATHER]).json()
    counted = api.post("/v1/responses/input_tokens", {"input": HISTORY, "tools": [WEATHER]}).json()
    assert counted == {
        "object": "response.input_tokens",
        "input_tokens": len(engine.requests[0].prompt_ids),
    }
    body = {"input": "More", "previous_response_id": response["id"]}
    longer = api.post("/v1/responses/input_tokens", body).json()
    assert longer["input_tokens"] > 50


@pytest.mark.parametrize(
    ("choice", "constrained", "told"),
    [
        ("auto", False, True),
        ("required", True, True),
        ("none", False, False),
        ({"type": "function", "name": "get_time"}, True, True),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "get_time"}],
            },
            True,
            True,
        ),
    ],
)
def test_tool_choices(
    api: Api, engine: FakeEngine, choice: object, constrained: bool, told: bool
) -> None:
    tools = [WEATHER, {**TIME, "strict": False}]
    response = api.respond(tools=tools, tool_choice=choice).json()
    assert response["tool_choice"] == choice
    assert ("(tool)" in prompt_of(engine)) == told
    assert (engine.requests[0].params.grammar is not None) == constrained


def test_one_call_at_most(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says(call_text("get_time") + call_text("get_weather", city="Rome"))
    asked = {"tools": [WEATHER, TIME], "parallel_tool_calls": False}
    streamed = assembled(events_of(api.respond(stream=True, **asked)))
    for response in (api.respond(**asked).json(), streamed):
        assert [item["name"] for item in response["output"]] == ["get_time"]


def test_formats(api: Api, engine: FakeEngine) -> None:
    format = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    for text in ({"format": format}, {"format": {"type": "json_object"}}):
        response = api.respond(text=text).json()
        assert response["text"]["format"] == text["format"]
        assert engine.requests[-1].params.grammar is not None
    api.respond(text={"format": {"type": "text"}, "verbosity": "medium"})
    assert engine.requests[-1].params.grammar is None


def test_thinking_is_switched(api: Api, engine: FakeEngine) -> None:
    answers(api, reasoning={"effort": "none", "summary": "auto"})
    assert prompt_of(engine).endswith("[assistant]<think></think>")
    answers(api, reasoning={"effort": "high"})
    assert prompt_of(engine).endswith("[assistant]")


def test_conversations_are_shortened(engine: FakeEngine) -> None:
    api = Api(create_app(FakeModel(engine), ServerSettings()))
    talk = [{"role": "system", "content": "Be kind."}]
    for at in range(20):
        talk.append({"role": "user", "content": f"question {at} " + "x" * 30})
        talk.append({"role": "assistant", "content": f"answer {at}"})
    talk.append({"role": "user", "content": "last"})
    error = error_of(api.respond(talk), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    assert api.respond(talk, truncation="auto").json()["truncation"] == "auto"
    prompt = prompt_of_bytes(engine)
    assert prompt.startswith("[system]Be kind.\n[user]question 14 ")
    assert prompt.endswith("[user]last\n[assistant]")
    too_long = [{"role": "user", "content": "x" * 600}]
    error_of(api.respond(too_long, truncation="auto"), 400)


def prompt_of_bytes(engine: FakeEngine) -> str:
    return bytes(token for token in engine.requests[-1].prompt_ids if token < 256).decode()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["x"]}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "web_search_call"}]}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content",
        ),
        ({"input": [CALL]}, "input[0]"),
        ({"input": [CALL, {"role": "user", "content": "x"}, RESULT]}, "input[0]"),
        ({"input": [RESULT]}, "input[0]"),
        ({"input": [CALL, RESULT, RESULT]}, "input[2]"),
        ({"input": [CALL, CALL, RESULT]}, "input[1]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0]"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ({"tools": [WEATHER], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "x"}},
            "tool_choice.name",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "x"}}, "prompt"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"text": {"format": {"type": "json_object", "name": "x"}}}, "text.format"),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": 5}}}},
            "text.format",
        ),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"background": True, "store": False}, "background"),
        ({"surprise": 1}, "surprise"),
        ({"reasoning": {"surprise": 1}}, "reasoning.surprise"),
    ],
)
def test_refusals(api: Api, fields: Json, param: str) -> None:
    body = {"model": "tiny/model", "input": "Hi", **fields}
    assert error_of(api.post("/v1/responses", body), 400)["param"] == param


def test_a_model_that_cannot_think_says_so(engine: FakeEngine) -> None:
    plain = TEMPLATE.replace("enable_thinking", "unused")
    api = tool_api(engine, template=plain, reasoning_parser="none")
    error = error_of(api.respond(reasoning={"effort": "high"}), 400)
    assert error["param"] == "reasoning.effort"


def test_a_stream_that_fails(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 2
    events = events_of(api.respond(stream=True))
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["sequence_number"] == len(events) - 1
    response = events[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    assert "kernel" not in response["error"]["message"]


def until_over(api: Any, response_id: str) -> Json:
    deadline = time.monotonic() + 5
    while True:
        response = api.get(f"/v1/responses/{response_id}").json()
        if response["status"] != "in_progress":
            return dict(response)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_in_the_background(engine: FakeEngine) -> None:
    with (
        listening(create_app(tool_model(engine), ServerSettings())) as url,
        httpx.Client(base_url=url) as client,
    ):
        body = {"input": "Hi", "background": True}
        started = client.post("/v1/responses", json=body).json()
        assert (started["status"], started["output"]) == ("in_progress", [])
        whole = until_over(client, started["id"])
        assert whole["output"][0]["content"][0]["text"] == "Hello world!"
        assert client.post(f"/v1/responses/{started['id']}/cancel").json() == whole

        engine.step_seconds = 0.05
        engine.script = lambda _: says("x" * 1000)
        started = client.post("/v1/responses", json=body).json()
        going_on = {"input": "Go on", "previous_response_id": started["id"]}
        error_of(client.post("/v1/responses", json=going_on), 400)
        stopped = client.post(f"/v1/responses/{started['id']}/cancel").json()
        assert stopped["status"] == "cancelled"
        assert engine.wait_idle()
        assert client.get(f"/v1/responses/{started['id']}").json() == stopped

        started = client.post("/v1/responses", json=body).json()
        client.delete(f"/v1/responses/{started['id']}").raise_for_status()
        assert engine.wait_idle()
        error_of(client.get(f"/v1/responses/{started['id']}"), 404)

        engine.fail_after = 2
        started = client.post("/v1/responses", json=body).json()
        failed = until_over(client, started["id"])
        assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")


def test_a_stream_in_the_background(engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    with (
        listening(create_app(tool_model(engine), ServerSettings())) as url,
        httpx.Client(base_url=url) as client,
    ):
        body = {"input": "Hi", "background": True, "stream": True}
        with client.stream("POST", "/v1/responses", json=body) as response:
            lines = response.iter_lines()
            first = json.loads(next(x for x in lines if x.startswith("data: "))[6:])
        response_id = first["response"]["id"]  # hung up: it goes on
        path = f"/v1/responses/{response_id}"
        events = events_of(client.get(path, params={"stream": "true"}))  # while it is made
        whole = assembled(events)
        assert whole["output"][0]["content"][0]["text"] == "Hello world!"
        assert client.get(path).json() == whole
        assert events_of(client.get(path, params={"stream": "true"})) == events  # and after
        rest = client.get(path, params={"stream": "true", "starting_after": 3})
        assert events_of(rest) == events[4:]
        assert not client.get(path, params={"stream": "true", "starting_after": 999}).content
        for wrong in ("-1", "x", "9" * 30):
            refused = client.get(path, params={"stream": "true", "starting_after": wrong})
            assert error_of(refused, 400)["param"] == "starting_after"

        engine.script = lambda _: says("x" * 1000)
        with client.stream("POST", "/v1/responses", json=body) as response:
            lines = response.iter_lines()
            started = json.loads(next(x for x in lines if x.startswith("data: "))[6:])["response"]
            stopped = client.post(f"/v1/responses/{started['id']}/cancel").json()
            assert stopped["status"] == "cancelled"
            assert list(lines)[-1] == ""  # its stream ends
        assert engine.wait_idle()

        engine.fail_after = 2
        events = events_of(client.post("/v1/responses", json=body))
        assert events[-1]["type"] == "response.failed"
        failed = client.get(f"/v1/responses/{events[-1]['response']['id']}").json()
        assert failed["status"] == "failed"


def test_events_are_kept_of_streams_in_the_background_alone(api: Api) -> None:
    response = assembled(events_of(api.respond(stream=True)))
    error = error_of(api.get(f"/v1/responses/{response['id']}?stream=true"), 400)
    assert error["param"] == "stream"


def test_a_restart_finds_responses_again(engine: FakeEngine, tmp_path: Path) -> None:
    settings = ServerSettings(response_store=tmp_path / "responses.db")
    with (
        listening(create_app(tool_model(engine), settings)) as url,
        httpx.Client(base_url=url) as client,
    ):
        first = client.post("/v1/responses", json={"input": "Hi"}).json()
        body = {"input": "More", "background": True, "stream": True}
        events = events_of(client.post("/v1/responses", json=body))
        engine.step_seconds = 0.05
        engine.script = lambda _: says("x" * 1000)
        cut = client.post("/v1/responses", json={"input": "Hi", "background": True}).json()
    engine.step_seconds = 0
    engine.script = lambda _: says("Bye")
    with (
        listening(create_app(tool_model(engine), settings)) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert client.get(f"/v1/responses/{first['id']}").json() == first
        streamed = f"/v1/responses/{events[0]['response']['id']}"
        assert events_of(client.get(streamed, params={"stream": "true"})) == events
        assert client.get(f"/v1/responses/{cut['id']}").json()["status"] == "cancelled"
        body = {"input": "And?", "previous_response_id": first["id"]}
        assert client.post("/v1/responses", json=body).json()["status"] == "completed"
    assert prompt_of(engine) == "[user]Hi\n[assistant]Hello world!\n[user]And?\n[assistant]"


def test_what_was_not_in_the_background_cannot_be_cancelled(api: Api) -> None:
    response = api.respond().json()
    error = error_of(api.send("POST", f"/v1/responses/{response['id']}/cancel"), 400)
    assert "background" in error["message"]


UNCLEAR: Json = {
    "type": "function",
    "name": "unclear",
    "parameters": {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
}


def test_functions_are_strict_by_default(api: Api, engine: FakeEngine) -> None:
    tool = {key: value for key, value in WEATHER.items() if key != "strict"}
    for response in answers(api, tools=[tool, TIME]):
        assert [each["strict"] for each in response["tools"]] == [True, True]
    assert engine.requests[-1].params.grammar is not None
    (response, _) = answers(api, tools=[WEATHER])
    assert [each["strict"] for each in response["tools"]] == [False]
    assert engine.requests[-1].params.grammar is None


def test_a_schema_that_cannot_be_kept_is_not_strict_by_default(
    api: Api, engine: FakeEngine
) -> None:
    for response in answers(api, tools=[UNCLEAR, TIME, WEATHER]):
        assert [each["strict"] for each in response["tools"]] == [False, False, False]
    assert engine.requests[-1].params.grammar is None
    refused = api.respond(tools=[{**UNCLEAR, "strict": True}])
    assert error_of(refused, 400)["param"] == "tools"
