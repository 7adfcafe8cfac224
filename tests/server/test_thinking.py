"""Thinking in /v1/chat/completions: told from the answer, turned on and off, counted."""

from __future__ import annotations

import pytest

from ftllm.errors import OptionError, RequestError
from ftllm.server.settings import ServerSettings
from ftllm.server.thinking import ThinkingPlanner, ThinkingWish
from ftllm.text.thinking_switches import ThinkingSwitches
from ftllm.tool_parsers import REASONING_DIALECTS

from .api import Api, Json, chunks_of, error_of
from .fake_engine import FakeEngine
from .fake_model import says
from .tool_model import TEMPLATE, TIME, call_text, prompt_of, streamed_message, tool_api

ALWAYS = TEMPLATE.replace("[assistant]\n{%- if", "[assistant]<think>\n{%- if")  # opens thinking
PLAIN = "{% for m in messages %}{{ m.content }}{% endfor %}"
QWEN3 = REASONING_DIALECTS["qwen3"]


@pytest.fixture
def api(engine: FakeEngine) -> Api:
    return tool_api(engine)


def answers(api: Api, **fields: object) -> list[tuple[Json, str | None]]:
    """(message, finish reason) of the same request, whole and streamed."""
    (choice,) = api.chat(**fields).json()["choices"]
    message = {key: value for key, value in choice["message"].items() if value is not None}
    streamed = streamed_message(chunks_of(api.chat(stream=True, **fields)))
    return [(message, choice["finish_reason"]), streamed]


def test_thinking_comes_under_both_names(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>\nHm. 🤔\n</think>\n\nYes.")
    for message, reason in answers(api):
        assert message == {
            "role": "assistant",
            "content": "Yes.",
            "reasoning_content": "Hm. 🤔",
            "reasoning": "Hm. 🤔",
        }
        assert reason == "stop"


def test_a_prompt_may_open_the_thinking(engine: FakeEngine) -> None:
    api = tool_api(engine, template=ALWAYS)
    engine.script = lambda _: says("Hm.</think>Yes.")
    for message, _ in answers(api):
        assert (message["reasoning"], message["content"]) == ("Hm.", "Yes.")
    assert prompt_of(engine).endswith("[assistant]<think>")


def test_an_answer_that_only_thinks(engine: FakeEngine) -> None:
    api = tool_api(engine, template=ALWAYS)
    engine.script = lambda _: says("Hm, and hm again")
    for message, reason in answers(api, max_tokens=5):
        assert (message, reason) == (
            {"role": "assistant", "reasoning": "Hm, a", "reasoning_content": "Hm, a"},
            "length",
        )
    assert api.chat().json()["choices"][0]["message"]["content"] is None


def test_a_call_inside_thinking_is_thinking(engine: FakeEngine) -> None:
    api = tool_api(engine, template=ALWAYS)
    text = call_text("get_time")
    engine.script = lambda _: says(f"I could {text} now.</think>No.")
    for message, reason in answers(api, tools=[TIME]):
        assert (message["content"], reason) == ("No.", "stop")
        assert message["reasoning"] == f"I could {text} now."


def test_thinking_is_counted(engine: FakeEngine) -> None:
    thinking = "<think>Hm.</think>"
    engine.script = lambda _: says(f"{thinking}Yes.")
    api = tool_api(engine)
    details = api.chat().json()["usage"]["completion_tokens_details"]
    # One byte is one token; the start marker is one only when it is complete.
    assert details == {"reasoning_tokens": len(thinking) - len("<think>") + 1}
    options = {"include_usage": True}
    chunks = chunks_of(api.chat(stream=True, stream_options=options, n=2))
    counted = chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert counted == 2 * details["reasoning_tokens"]
    engine.script = lambda _: says("Yes.")
    assert api.chat().json()["usage"]["completion_tokens_details"] == {"reasoning_tokens": 0}


def test_thinking_can_be_left_out(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("<think>Hm.</think>Yes.")
    for message, _ in answers(api, include_reasoning=False):
        assert message == {"role": "assistant", "content": "Yes."}
    usage = api.chat(include_reasoning=False).json()["usage"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] > 3


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"chat_template_kwargs": {"thinking": False}},  # another template's name for it
    ],
)
def test_thinking_turned_off(api: Api, engine: FakeEngine, fields: Json) -> None:
    text = "The tag <think> opens thoughts."
    engine.script = lambda _: says(text)
    for message, _ in answers(api, **fields):
        assert message == {"role": "assistant", "content": text}
    assert prompt_of(engine).endswith("[assistant]<think></think>")


def test_a_request_overrules_the_server(engine: FakeEngine) -> None:
    api = tool_api(engine, think="off")
    api.chat()
    assert prompt_of(engine).endswith("<think></think>")
    api.chat(reasoning_effort="high")
    assert prompt_of(engine).endswith("[assistant]")
    api.chat(chat_template_kwargs={"enable_thinking": True})
    assert prompt_of(engine).endswith("[assistant]")


def test_contradictions_are_refused(api: Api) -> None:
    fields: Json = {"chat_template_kwargs": {"enable_thinking": False}}
    error = error_of(api.chat(reasoning_effort="low", **fields), 400)
    assert error["param"] == "reasoning_effort"
    assert error_of(api.chat(reasoning_effort="huge"), 400)["param"] == "reasoning_effort"
    assert error_of(api.chat(thinking_token_budget=-1), 400)["param"] == "thinking_token_budget"


def test_a_model_that_does_not_think(engine: FakeEngine) -> None:
    api = tool_api(engine, template=PLAIN, reasoning_parser="none")
    assert error_of(api.chat(reasoning_effort="high"), 400)["param"] == "reasoning_effort"
    error = error_of(api.chat(thinking_token_budget=5), 400)
    assert error["param"] == "thinking_token_budget"
    engine.script = lambda _: says("<think>")
    message = api.chat(reasoning_effort="none").json()["choices"][0]["message"]
    assert message["content"] == "<think>"


def test_a_wrong_think_option() -> None:
    with pytest.raises(OptionError, match="auto, on or off"):
        ServerSettings(think="maybe")


def test_plans_without_a_switch_close_the_thinking() -> None:
    planner = ThinkingPlanner(ThinkingSwitches(), QWEN3)
    plan = planner.plan(ThinkingWish(effort="none"), {"a": 1})
    assert (plan.limit, plan.variables, plan.off) == (0, {"a": 1}, False)
    assert planner.plan(ThinkingWish(effort="low"), {}).limit is None
    assert planner.plan(ThinkingWish(budget=7), {}).limit == 7


def test_plans_do_not_overrule_the_request() -> None:
    planner = ThinkingPlanner(ThinkingSwitches(flag="thinking", effort=True), QWEN3, default="on")
    plan = planner.plan(ThinkingWish(effort="low"), {"reasoning_effort": "high"})
    assert plan.variables == {"thinking": True, "reasoning_effort": "high"}
    assert planner.plan(ThinkingWish(), {}).variables == {"thinking": True}
    with pytest.raises(RequestError):
        planner.plan(ThinkingWish(enabled=True, effort="none"), {})
