"""What the grammars of calls refuse, and how their layout is chosen."""

from __future__ import annotations

import pytest
from llguidance import LLMatcher, LLTokenizer

from ftllm.errors import RequestError
from ftllm.tool_parsers import TOOL_DIALECTS
from tests.tool_parsers.case_files import TOOLS

TOKENIZER = LLTokenizer("byte")


def allows(source: str, text: str) -> bool:
    """Whether `text` is a whole answer under the grammar."""
    matcher = LLMatcher(TOKENIZER, LLMatcher.grammar_from_lark(source), log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.mark.parametrize(
    ("dialect", "call"),
    [
        (
            "hermes",
            '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        ),
        ("llama3_json", '{"name": "get_weather", "parameters": {"city": "Paris"}}'),
        ("mistral", '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}]'),
        ("pythonic", '[get_weather(city="Paris")]'),
        (
            "qwen3_coder",
            "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
            "</function>\n</tool_call>",
        ),
        ("gemma4", '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>'),
    ],
)
def test_a_call_of_a_tool_with_its_arguments_and_nothing_else(dialect: str, call: str) -> None:
    source = TOOL_DIALECTS[dialect].grammar(TOOLS[:1], parallel=False)
    assert allows(source, call)
    assert not allows(source, call.replace("get_weather", "get_feather"))
    assert not allows(source, call.replace("city", "town"))
    assert not allows(source, f"{call} So.")
    assert not allows(source, f"So: {call}")
    assert not allows(source, "")


def test_required_arguments_are_required() -> None:
    source = TOOL_DIALECTS["olmo3"].grammar(TOOLS[:1], parallel=False)
    for inner, fits in (
        ('city="Paris"', True),
        ('city="Paris", days=3', True),
        ('city="Paris", unit="celsius", days=3', True),
        ("days=3", False),
        ("", False),
        ('city="Paris", unit="kelvin"', False),
    ):
        text = f"<function_calls>get_weather({inner})</function_calls>"
        assert allows(source, text) is fits, inner


def test_several_calls_only_where_they_may_be_parallel() -> None:
    for parallel in (False, True):
        source = TOOL_DIALECTS["lfm2"].grammar(TOOLS, parallel=parallel)
        text = "<|tool_call_start|>[ping(), ping()]<|tool_call_end|>"
        assert allows(source, text) is parallel


def test_behind_the_trigger_the_marker_is_not_repeated() -> None:
    hermes = TOOL_DIALECTS["hermes"]
    source = hermes.grammar_behind_trigger(TOOLS, parallel=False)
    assert hermes.trigger == "<tool_call>"
    assert source is not None
    assert allows(source, '\n{"name": "ping", "arguments": {}}\n</tool_call>')
    for dialect in ("llama3_json", "pythonic", "xlam"):
        assert TOOL_DIALECTS[dialect].trigger is None
        assert TOOL_DIALECTS[dialect].grammar_behind_trigger(TOOLS, parallel=False) is None


def test_the_vocabulary_tells_the_layout_of_mistral() -> None:
    mistral = TOOL_DIALECTS["mistral"]
    newer = mistral.grammar(TOOLS, parallel=True, special={"[TOOL_CALLS]", "[ARGS]"})
    assert allows(newer, "[TOOL_CALLS]ping[ARGS]{}[TOOL_CALLS]get_time[ARGS]{}")
    older = mistral.grammar(TOOLS, parallel=True, special={"[TOOL_CALLS]"})
    assert allows(older, '[TOOL_CALLS] [{"name": "ping", "arguments": {}}]')
    assert not allows(older, "[TOOL_CALLS]ping[ARGS]{}")


def test_harmony_calls_come_first_or_behind_reasoning() -> None:
    source = TOOL_DIALECTS["openai"].grammar(TOOLS, parallel=False)
    call = "<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}"
    assert allows(source, call)
    assert allows(source, f"<|start|>assistant{call}")


def test_without_tools_there_is_no_grammar() -> None:
    with pytest.raises(RequestError, match="tools is empty"):
        TOOL_DIALECTS["hermes"].grammar([], parallel=True)
