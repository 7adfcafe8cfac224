from __future__ import annotations

import pytest

from ftllm.text.chat_template import ChatTemplate
from ftllm.text.thinking_switches import EFFORTS


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token=None, eos_token=None)


FLAG = "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
OTHER_FLAG = "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{{ thinking }}"
PRINTED = (
    "{% macro system() %}{% if reasoning_effort is not defined %}{% set reasoning_effort ="
    " 'medium' %}{% endif %}Reasoning: {{ reasoning_effort }}{% endmacro %}{{ system() }}"
)
COMPARED = (
    "{% if reasoning_effort == 'max' %}very{% elif reasoning_effort|lower == 'low' %}{% endif %}"
)
LISTED = (
    "{% if reasoning_effort not in ['none', 'high'] %}{{ raise_exception('no') }}{% endif %}"
    "{{ reasoning_effort }}"
)
BUDGET = "{% if thinking_budget is defined %}{{ thinking_budget }}{% endif %}"
LOCAL = "{% for m in messages %}{% set thinking = m.thinking %}{{ thinking }}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "effort", "variables"),
    [
        (FLAG, "none", {"enable_thinking": False}),
        (FLAG, "high", {"enable_thinking": True}),
        (OTHER_FLAG, "none", {"thinking": False}),
        (OTHER_FLAG, "minimal", {"thinking": True}),
        (PRINTED, "low", {"reasoning_effort": "low"}),
        (PRINTED, "minimal", {"reasoning_effort": "low"}),
        (PRINTED, "max", {"reasoning_effort": "high"}),
        (PRINTED, "none", {}),
        (COMPARED, "max", {"reasoning_effort": "max"}),
        (COMPARED, "xhigh", {"reasoning_effort": "high"}),
        (COMPARED, "medium", {"reasoning_effort": "medium"}),
        (LISTED, "none", {"reasoning_effort": "none"}),
        (LISTED, "low", {"reasoning_effort": "high"}),
        (FLAG + PRINTED, "xhigh", {"enable_thinking": True, "reasoning_effort": "high"}),
        (BUDGET, "none", {"thinking_budget": 0}),
        (BUDGET, "high", {}),
        (LOCAL, "none", {}),
        (LOCAL, "high", {}),
    ],
)
def test_efforts_in_a_templates_words(
    source: str, effort: str, variables: dict[str, object]
) -> None:
    switches = template(source).thinking
    assert switches.variables(effort) == variables
    assert switches.is_off(variables) == (effort == "none" and bool(variables))


@pytest.mark.parametrize("source", [FLAG, OTHER_FLAG, PRINTED, COMPARED, LISTED, BUDGET, LOCAL])
@pytest.mark.parametrize("effort", EFFORTS)
def test_no_effort_makes_a_template_fail(source: str, effort: str) -> None:
    own = template(source)
    own.render([{"role": "user", "content": "x"}], variables=own.thinking.variables(effort))
