"""The state machine that all dialects share, shown with hermes and <think> tags."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from ftllm.errors import OptionError
from ftllm.tool_parsers import (
    Delta,
    OutputParser,
    ParsedOutput,
    ToolCall,
    join_deltas,
    parse_output,
)

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in "fg"]


def numbered() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"id{next(numbers)}"


def parse(
    text: str, *, reasoning: str | None = None, inside: bool = False, reason: str = "stop"
) -> ParsedOutput:
    """The result, which has to be the same for every size of the pieces."""
    assert reason in ("stop", "length")
    results = []
    for size in (len(text), 1, 2, 3, 7):
        parser = OutputParser(
            tools=TOOLS,
            tool_dialect="hermes",
            reasoning_dialect=reasoning,
            starts_in_reasoning=inside,
            new_id=numbered(),
        )
        pieces = [text[start : start + size] for start in range(0, len(text), size or 1)]
        deltas = [delta for piece in pieces for delta in parser.feed(piece)]
        deltas += parser.finish("stop" if reason == "stop" else "length")
        results.append(join_deltas(deltas))
    assert all(result == results[0] for result in results), results
    return results[0]


def test_names_of_dialects_are_checked() -> None:
    with pytest.raises(OptionError, match=r"'none' is no tool call dialect; there are .*hermes"):
        OutputParser(tools=TOOLS, tool_dialect="none")
    with pytest.raises(OptionError, match=r"'x' is no reasoning dialect; there are .*qwen3"):
        OutputParser(reasoning_dialect="x")


def test_a_call_between_texts() -> None:
    text = 'Look:\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\nDone.'
    call = ToolCall("id0", "f", '{"a": 1}')
    assert parse(text) == ParsedOutput("Look:\nDone.", None, (call,))
    assert parse(text.replace("</tool_call>", "")) == ParsedOutput("Look:\n\nDone.", None, (call,))


@pytest.mark.parametrize(
    "text",
    [
        "a < b <tool <tool_",
        "Use <tool_call> for calls.",
        '<tool_call>{"value": {"name": "f"}}</tool_call>',
        '<tool_call>{"name": 1}',
        '<tool_call>{"na',
        " leading and trailing \n",
    ],
)
def test_what_only_looks_like_a_call_stays_text_in_full(text: str) -> None:
    assert parse(text) == ParsedOutput(text, None, ())


def test_without_tools_or_dialect_nothing_is_a_call() -> None:
    text = '<tool_call>{"name": "f"}</tool_call>'
    assert parse_output(text, tool_dialect="hermes").content == text
    assert parse_output(text, tools=TOOLS).content == text
    assert parse_output(" \n") == ParsedOutput(" \n", None, ())


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('<tool_call>{"name": "f"', ""),
        ('<tool_call>{"name": "f", "arguments": {"a": "x', '{"a": "x'),
        ('<tool_call>{"name": "f", "arguments": {"a": [tru', '{"a": [tru'),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}', '{"a": 1}'),
    ],
)
def test_a_call_that_is_cut_off_gives_what_there_is(text: str, arguments: str) -> None:
    calls = (ToolCall("id0", "f", arguments),)
    assert parse(text, reason="length") == ParsedOutput(None, None, calls)


@pytest.mark.parametrize("end", ["", "}", "}\n</tool_call", "}}\n</tool_call>\n"])
def test_an_end_that_the_model_forgets(end: str) -> None:
    result = parse('<tool_call>{"name": "f", "arguments": {"a": 1}' + end)
    assert result.tool_calls == (ToolCall("id0", "f", '{"a": 1}'),)


def test_a_marker_without_a_name_behind_it_is_dropped_when_cut_off() -> None:
    assert parse('Hi <tool_call>{"na', reason="length") == ParsedOutput("Hi", None, ())


def test_reasoning_is_opaque_up_to_its_end() -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    result = parse(f"<think>\nno {call}\n</think>\n\n  Hi\n{call}", reasoning="qwen3")
    assert (result.content, result.reasoning) == ("  Hi", f"no {call}")
    assert [(each.name, each.arguments) for each in result.tool_calls] == [("f", "{}")]


def test_a_start_that_is_in_the_prompt_may_be_repeated() -> None:
    for text in ("so</think>x", "\n<think>so</think>x", "<think>\nso\n</think></think>\nx"):
        assert parse(text, reasoning="qwen3", inside=True) == ParsedOutput("x", "so", ())


def test_reasoning_that_never_ends() -> None:
    for reason in ("stop", "length"):
        result = parse("so <tool", reasoning="qwen3", inside=True, reason=reason)
        assert result == ParsedOutput(None, "so <tool", ())


def test_calls_at_the_end_of_reasoning_without_an_end_marker_count() -> None:
    call = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>\n'
    result = parse(f"so\n{call}{call}", reasoning="qwen3", inside=True)
    arguments = [(each.name, each.arguments) for each in result.tool_calls]
    assert (result.reasoning, arguments) == ("so", [("f", '{"a": 1}')] * 2)
    result = parse(f"so\n{call}then", reasoning="qwen3", inside=True)
    assert result == ParsedOutput(None, f"so\n{call}then", ())
    result = parse(f"so\n{call}", reasoning="qwen3", inside=True, reason="length")
    assert result == ParsedOutput(None, f"so\n{call}".rstrip(), ())


def test_without_a_start_marker_there_is_no_reasoning() -> None:
    assert parse("\nHi <think>", reasoning="qwen3") == ParsedOutput("\nHi <think>", None, ())


def test_where_reasoning_is_can_be_asked() -> None:
    parser = OutputParser(reasoning_dialect="qwen3", starts_in_reasoning=True)
    seen = []
    for piece in ("so ", "it is</thi", "nk>", "yes"):
        parser.feed(piece)
        seen.append((parser.in_reasoning, parser.reasoning_length))
    assert seen == [(True, 0), (True, 0), (False, 16), (False, 16)]


def test_pieces_of_a_call_come_as_they_are_written() -> None:
    parser = OutputParser(tools=TOOLS, tool_dialect="hermes", new_id=numbered())
    assert parser.feed('<tool_call>{"name": "f"') == []
    first, piece = parser.feed(', "arguments": {"a": "one ')
    assert first.tool_calls[0].id == "id0"
    assert (first.tool_calls[0].name, first.tool_calls[0].arguments) == ("f", "")
    assert piece.tool_calls[0].arguments == '{"a": "one '
    (piece,) = parser.feed("two")
    assert (piece.tool_calls[0].index, piece.tool_calls[0].id) == (0, None)
    assert piece.tool_calls[0].arguments == "two"
    assert parser.has_tool_calls


def test_an_unmarked_call_waits_for_the_end_and_other_text_does_not() -> None:
    fence = "`" * 3
    call = fence + 'json\n{"name": "f", "arguments": {"a": 1}}\n' + fence
    parser = OutputParser(tools=TOOLS, tool_dialect="hermes", new_id=numbered())
    assert parser.feed(call) == []
    assert [delta.tool_calls[0].arguments for delta in parser.finish("stop")] == ["", '{"a": 1}']
    for start, rest in (
        ('{"na', 'tion": 1'),
        (fence, "python"),
        (fence + 'json\n{"name": "h', '"'),
    ):
        parser = OutputParser(tools=TOOLS, tool_dialect="hermes", new_id=numbered())
        assert parser.feed(start) == []
        assert parser.feed(rest) == [Delta(content=start + rest)]
        assert parser.feed(" and {") == [Delta(content=" and {")]


def test_an_unmarked_call_of_a_strict_tool_has_to_fit() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for arguments, strict, fits in (('{"a": 1}', "f", True), ("{}", "f", False), ("{}", "", True)):
        text = f'{{"name": "f", "arguments": {arguments}}}'
        parser = OutputParser(tools=[tool], tool_dialect="hermes", strict=[strict])
        found = join_deltas([*parser.feed(text), *parser.finish("stop")])
        assert [call.arguments for call in found.tool_calls] == [arguments] * fits
        assert found.content == (None if fits else text)


def test_calls_without_a_marker_can_be_left_out() -> None:
    text = '{"name": "f", "arguments": {"a": 1}}'
    parser = OutputParser(tools=TOOLS, tool_dialect="hermes", marked_only=True)
    assert parser.feed(text) == [Delta(content=text)]


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("xlam", '<tool_call>[{"name": "f", "arguments": {}}]</tool_call>'),
        ("llama4_pythonic", "[f()]"),
        ("qwen3_coder", "<function=f>\n</function>"),
    ],
)
def test_forms_that_no_grammar_constrains_are_no_calls_of_strict_tools(
    dialect: str, text: str
) -> None:
    for strict in ((), ("f",)):
        parser = OutputParser(tools=TOOLS, tool_dialect=dialect, strict=strict)
        found = join_deltas([*parser.feed(text), *parser.finish("stop")])
        assert len(found.tool_calls) == (not strict)
        assert found.content == (text if strict else None)
