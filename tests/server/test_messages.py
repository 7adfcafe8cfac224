"""Anthropic's /v1/messages: histories in, blocks and events out."""

from __future__ import annotations

import json

import pytest

from ftllm.errors import QueueFullError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, Json, events_of
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import FakeModel, says
from .tool_model import TEMPLATE, call_text, prompt_of, tool_api, tool_model

PLAIN = TEMPLATE.replace("enable_thinking", "unused")
WEATHER: Json = {
    "name": "get_weather",
    "description": "Today's weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    "cache_control": {"type": "ephemeral"},
}
TIME: Json = {"name": "get_time", "input_schema": {"type": "object"}}
HI: Json = {"role": "user", "content": "Hi"}


@pytest.fixture
def api(engine: FakeEngine) -> Api:
    return tool_api(engine)


def refusal(api: Api, *messages: Json, **fields: object) -> str:
    response = api.message(*(messages or (HI,)), **fields)
    assert response.status_code == 400, response.text
    body = response.json()
    assert set(body) == {"type", "error"}
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    return str(body["error"]["message"])


def assembled(events: list[Json]) -> Json:
    """The message that the events of a stream build, which also have to be in order."""
    assert events[0]["type"] == "message_start"
    message = dict(events[0]["message"])
    assert message["content"] == []
    assert message["stop_reason"] is None
    assert events[1] == {"type": "ping"}
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    content: list[Json] = []
    arguments = ""
    is_open = False
    for event in events[2:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(content)
            content.append(dict(event["content_block"]))
            is_open, arguments = True, ""
            continue
        assert is_open
        assert event["index"] == len(content) - 1
        block = content[-1]
        if event["type"] == "content_block_stop":
            is_open = False
            if block["type"] == "tool_use":
                block["input"] = json.loads(arguments or "{}")
            continue
        assert event["type"] == "content_block_delta"
        delta = event["delta"]
        if delta["type"] == "input_json_delta":
            assert block["type"] == "tool_use"
            arguments += delta["partial_json"]
        else:
            kind = delta["type"].removesuffix("_delta")
            assert block["type"] == ("thinking" if kind == "signature" else kind)
            block[kind] += delta[kind]
    assert not is_open
    return {**message, "content": content, **events[-2]["delta"], "usage": events[-2]["usage"]}


def answers(api: Api, *messages: Json, **fields: object) -> list[Json]:
    """The same message, whole and streamed; ids left out."""
    asked = messages or (HI,)
    whole = api.message(*asked, **fields)
    assert whole.status_code == 200, whole.text
    both = [whole.json(), assembled(events_of(api.message(*asked, stream=True, **fields)))]
    for message in both:
        assert message.pop("id").startswith("msg_")
        for block in message["content"]:
            if block["type"] == "tool_use":
                assert block.pop("id")
    return both


def test_text(api: Api, engine: FakeEngine) -> None:
    for message in answers(api, system="Short.", metadata={"user_id": "x"}):
        assert message == {
            "type": "message",
            "role": "assistant",
            "model": "tiny/model",
            "content": [{"type": "text", "text": "Hello world!"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": len(engine.requests[0].prompt_ids) - CACHED_TOKENS,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": CACHED_TOKENS,
                "output_tokens": 4,
                "output_tokens_details": {"thinking_tokens": 0},
            },
        }
    assert prompt_of(engine) == "[system]Short.\n[user]Hi\n[assistant]"


def test_thinking_text_and_calls_are_blocks(api: Api, engine: FakeEngine) -> None:
    calls = call_text("get_weather", city='Łódź {"]') + call_text("get_time")
    engine.script = lambda _: says(f"<think>Hm. 🤔</think>Let me look.{calls}")
    for message in answers(api, tools=[WEATHER, TIME]):
        thinking, *others = message["content"]
        assert thinking.pop("signature")
        assert thinking == {"type": "thinking", "thinking": "Hm. 🤔"}
        assert others == [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "name": "get_weather", "input": {"city": 'Łódź {"]'}},
            {"type": "tool_use", "name": "get_time", "input": {}},
        ]
        assert message["stop_reason"] == "tool_use"
        assert message["usage"]["output_tokens_details"]["thinking_tokens"] > 0


def test_streams_come_in_pieces(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says(call_text("get_weather", city="Paris"))
    events = events_of(api.message(HI, tools=[WEATHER], stream=True))
    pieces = [e["delta"]["partial_json"] for e in events if e["type"] == "content_block_delta"]
    assert len(pieces) > 5
    assert json.loads("".join(pieces)) == {"city": "Paris"}


def test_stop_reasons(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("one two three")
    for message in answers(api, stop_sequences=["x", " t"]):
        assert message["content"] == [{"type": "text", "text": "one"}]
        assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " t")
    for message in answers(api, max_tokens=3):
        assert message["content"] == [{"type": "text", "text": "one"}]
        assert (message["stop_reason"], message["stop_sequence"]) == ("max_tokens", None)
    engine.script = lambda _: says("")
    for message in answers(api):
        assert (message["content"], message["stop_reason"]) == ([], "end_turn")


def test_a_call_that_is_cut_off(api: Api, engine: FakeEngine) -> None:
    text = call_text("get_weather", city="Paris")
    engine.script = lambda _: says(text)
    limit = text.index("ris")
    message = api.message(HI, tools=[WEATHER], max_tokens=limit).json()
    (block,) = message["content"]
    assert block["name"] == "get_weather"
    assert block["input"] == {"city": "Pa"}
    assert message["stop_reason"] == "max_tokens"


HISTORY: list[Json] = [
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Look.", "signature": "abc"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "t2", "name": "get_time", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [{"type": "text", "text": "no clock"}],
                "is_error": True,
            },
            {"type": "tool_result", "tool_use_id": "t1", "content": "Snow."},
            {"type": "text", "text": "And now?", "cache_control": {"type": "ephemeral"}},
        ],
    },
]
SYSTEM = [
    {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=2;"},
    {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "Be brief."},
]


def test_a_history(api: Api, engine: FakeEngine) -> None:
    answers(api, *HISTORY, system=SYSTEM, tool_choice={"type": "none"}, tools=[WEATHER])
    assert prompt_of(engine) == (
        "[system]Be kind.\nBe brief.\n"
        "[user]Weather?\n"
        "[assistant]<think>Look.</think>I look."
        '<tool_call>{"name": "get_weather", "arguments": {"city": "Rome"}}</tool_call>'
        '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>\n'
        "[tool]Error: no clock(t2 get_time)\n"
        "[tool]Snow.(t1 get_weather)\n"
        "[user]And now?\n[assistant]"
    )


def test_neighbours_of_one_role_are_one_message(api: Api, engine: FakeEngine) -> None:
    answers(api, HI, {"role": "user", "content": "there"})
    assert prompt_of(engine) == "[user]Hi\nthere\n[assistant]"


def test_an_answer_is_continued(api: Api, engine: FakeEngine) -> None:
    answers(api, HI, {"role": "assistant", "content": "I am"})
    assert prompt_of(engine) == "[user]Hi\n[assistant]I am"


@pytest.mark.parametrize(
    ("choice", "required", "tools"),
    [
        ({"type": "auto"}, False, True),
        ({"type": "any"}, True, True),
        ({"type": "tool", "name": "get_time"}, True, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, False, True),
        ({"type": "none"}, False, False),
    ],
)
def test_tool_choices(
    api: Api, engine: FakeEngine, choice: Json, required: bool, tools: bool
) -> None:
    api.message(HI, tools=[WEATHER, TIME], tool_choice=choice)
    assert ("(tool)" in prompt_of(engine)) == tools
    assert (engine.requests[0].params.grammar is not None) == required


def test_one_call_at_most(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says(call_text("get_time") + call_text("get_weather", city="Rome"))
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    for message in answers(api, tools=[WEATHER, TIME], tool_choice=choice):
        assert [block["name"] for block in message["content"]] == ["get_time"]


def test_thinking_is_switched(api: Api, engine: FakeEngine) -> None:
    answers(api, thinking={"type": "disabled"})
    assert prompt_of(engine).endswith("[assistant]<think></think>")
    answers(api, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert prompt_of(engine).endswith("[assistant]")
    api.message(HI, thinking={"type": "enabled", "budget_tokens": 8}, max_tokens=100)
    assert engine.requests[-1].params.grammar is not None  # which closes the thinking


def test_thinking_can_be_left_out(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>Hm.</think>Yes.")
    for message in answers(api, thinking={"type": "adaptive", "display": "omitted"}):
        assert message["content"] == [{"type": "text", "text": "Yes."}]


def test_a_model_that_does_not_think_keeps_every_budget(engine: FakeEngine) -> None:
    api = tool_api(engine, template=PLAIN, reasoning_parser="none")
    thinking = {"type": "enabled", "budget_tokens": 100}
    for message in answers(api, thinking=thinking, output_config={"effort": "low"}):
        assert message["content"] == [{"type": "text", "text": "Hello world!"}]


def test_what_claude_code_sends(api: Api) -> None:
    body = {
        "model": "tiny/model",
        "max_tokens": 300,
        "temperature": 1,
        "messages": HISTORY,
        "system": SYSTEM,
        "tools": [{**WEATHER, "eager_input_streaming": True, "strict": False, "type": "custom"}],
        "metadata": {"user_id": "user_x_session_y"},
        "thinking": {"type": "enabled", "budget_tokens": 200},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "stream": True,
    }
    response = api.post("/v1/messages?beta=true", body)
    assert assembled(events_of(response))["stop_reason"] == "end_turn"
    counted = {name: body[name] for name in ("model", "messages", "system", "tools", "thinking")}
    assert api.post("/v1/messages/count_tokens?beta=true", counted).json()["input_tokens"] > 100


def test_tokens_are_counted(api: Api, engine: FakeEngine) -> None:
    api.message(*HISTORY, tools=[WEATHER])
    body = {"messages": HISTORY, "tools": [WEATHER]}
    counted = api.post("/v1/messages/count_tokens", body)
    assert counted.json() == {"input_tokens": len(engine.requests[0].prompt_ids)}


@pytest.mark.parametrize(
    ("fields", "quoted"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"system": [{"type": "image", "source": {}}]}, "'image'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "'web_search_2025"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tools": [TIME, TIME]}, "tools[1].name"),
        ({"tools": [{**TIME, "defer_loading": True}]}, "defer_loading"),
        ({"tools": [TIME], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [TIME], "tool_choice": {"type": "tool", "name": "x"}}, "'x'"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 400}}, "max_tokens"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "context_management"),
        ({"surprise": 1}, "'surprise'"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": 5}}}}, "type"),
    ],
)
def test_refusals(api: Api, fields: Json, quoted: str) -> None:
    assert quoted in refusal(api, **fields)


@pytest.mark.parametrize(
    ("messages", "quoted"),
    [
        ([{"role": "tool", "content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": [{"type": "image", "source": {}}]}], "'image'"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": [HISTORY[1]["content"][3]]}], "'tool_use'"),
        (HISTORY[:2], "'t1', 't2'"),
        ([*HISTORY[:2], {"role": "user", "content": "no"}], "messages[1].content[3]"),
        ([HISTORY[0], HISTORY[2]], "'t2' is the id of no call"),
        ([*HISTORY, HISTORY[2]], "'t2' is the id of no call"),
        ([HI, {"role": "assistant", "content": [HISTORY[1]["content"][4]] * 2}], "'t2'"),
    ],
)
def test_histories_that_do_not_fit(api: Api, messages: list[Json], quoted: str) -> None:
    assert quoted in refusal(api, *messages)


def test_lenient_servers_ignore_what_they_do_not_know(engine: FakeEngine) -> None:
    api = Api(create_app(tool_model(engine), ServerSettings(lenient=True)))
    assert api.message(HI, surprise=1).status_code == 200


def test_errors_have_their_own_shape(engine: FakeEngine) -> None:
    api = Api(create_app(FakeModel(engine), ServerSettings(api_keys=("k",))))

    def error(status: int, path: str = "/v1/messages", **fields: object) -> str:
        body = json.dumps({"max_tokens": 5, "messages": [HI], **fields}).encode()
        response = api.send("POST", path, content=body, headers=headers)
        assert response.status_code == status, response.text
        assert response.headers["request-id"] == response.headers["x-request-id"]
        assert response.json()["type"] == "error"
        return str(response.json()["error"]["type"])

    headers: dict[str, str] = {}
    assert error(401) == "authentication_error"
    headers = {"x-api-key": "k"}
    assert error(404, model="claude-opus-4-5") == "not_found_error"
    assert error(404, path="/v1/messages/batches") == "not_found_error"
    engine.refuse = QueueFullError("The queue is full.", retry_after=3)
    assert error(429) == "rate_limit_error"
    engine.refuse = None
    engine.fail_after = 0
    assert error(500) == "api_error"


def test_a_stream_that_fails_ends_in_an_error(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 2
    events = events_of(api.message(HI, stream=True))
    assert [event["type"] for event in events[-1:]] == ["error"]
    assert events[-1]["error"]["type"] == "api_error"
    assert "kernel" not in events[-1]["error"]["message"]


def test_silence_is_filled_with_pings(engine: FakeEngine) -> None:
    engine.step_seconds = 0.15
    api = Api(create_app(FakeModel(engine), ServerSettings(keep_alive=0.05)))
    events = events_of(api.message(HI, stream=True))
    assert sum(event["type"] == "ping" for event in events) > 1
