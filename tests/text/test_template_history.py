"""Calls, results and thinking of earlier turns, in templates that each want them otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from ftllm.text.chat_template import ChatTemplate

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "go"}


def call(call_id: str, name: str, arguments: object = "{}") -> Json:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "name": "f", "content": f"got {call_id}"}


TWO_CALLS: list[Json] = [
    USER,
    {
        "role": "assistant",
        "content": "Wait.",
        "reasoning_content": "Two.",
        "tool_calls": [call("a", "one"), call("b", "two")],
    },
    result("b"),
    result("a"),
    {"role": "assistant", "content": "Done."},
]

# The first call of a message, and no word about the others; as templates do that raise, or not.
FIRST_CALL = (
    "{% for m in messages %}"
    "{% if m.role == 'assistant' and m.tool_calls %}%CHECK%"
    "({{ m.reasoning_content }}|{{ m.content }}|{{ m.tool_calls[0].function.name }})"
    "{% else %}[{{ m.content }}]{% endif %}{% endfor %}"
)
REFUSAL = "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call only') }}{% endif %}"
ALL_CALLS = (
    "{% for m in messages %}[{{ m.content }}{% for c in m.tool_calls or [] %}"
    " {{ c.function.name }}{% endfor %}]{% endfor %}"
)


def render(source: str, messages: list[Json]) -> str:
    return ChatTemplate(source, bos_token=None, eos_token=None).render(messages)


@pytest.mark.parametrize("check", [REFUSAL, ""])
def test_calls_are_made_one_by_one_where_the_template_takes_one(check: str) -> None:
    assert render(FIRST_CALL.replace("%CHECK%", check), TWO_CALLS) == (
        "[go](Two.|Wait.|one)[got a](||two)[got b][Done.]"
    )


def test_results_without_a_call_are_kept() -> None:
    messages = [*TWO_CALLS[:3], result("c")]
    assert render(FIRST_CALL.replace("%CHECK%", ""), messages) == (
        "[go](Two.|Wait.|one)(||two)[got b][got c]"
    )


def test_calls_stay_together_where_the_template_takes_several() -> None:
    assert render(ALL_CALLS, TWO_CALLS) == "[go][Wait. one two][got b][got a][Done.]"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("form", ["m.{}", "m['{}']", "m.get('{}')"])
def test_thinking_comes_under_the_templates_own_name(name: str, form: str) -> None:
    source = "{% for m in messages %}[{{ " + form.format(name) + " }}]{% endfor %}"
    message = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    assert "[hm]" in render(source, [message])


def test_thinking_that_would_stand_beside_content_and_calls() -> None:
    """Templates that call it "thinking" refuse the three together: there content wins."""
    source = (
        "{% for m in messages %}{% if m.tool_calls and m.content and m.thinking %}"
        "{{ raise_exception('not both') }}{% endif %}[{{ m.content }}/{{ m.thinking }}]{% endfor %}"
    )
    message = {"role": "assistant", "reasoning_content": "hm", "tool_calls": [call("a", "f")]}
    assert render(source, [{**message, "content": "x"}]) == "[x/]"
    assert render(source, [{**message, "content": None}]) == "[/hm]"
