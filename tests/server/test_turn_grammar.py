"""What the sampling is held to, looked at through the compiled grammar."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftllm.errors import RequestError
from ftllm.server.conversation import FunctionTool, ToolOffer
from ftllm.server.turn_grammar import thinking_span, turn_grammar
from ftllm.text.grammar import Grammar, Thinking
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS

from .fake_model import EOS, byte_tokenizer

HERMES = TOOL_DIALECTS["hermes"]
WEATHER = FunctionTool(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
)
TIME = FunctionTool(name="get_time")
ROME = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>'
)
NOW = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    tokenizer = byte_tokenizer()
    return GrammarCompiler(
        tokenizer, vocab_size=tokenizer.vocab_size, eos_token_ids=frozenset({EOS})
    )


def matches(compiler: GrammarCompiler, grammar: Grammar | None, text: str) -> bool:
    assert grammar is not None
    matcher = compiler.compile(grammar).matcher()
    ids = list(text.encode())
    if matcher.count_allowed(ids) < len(ids):
        return False
    for token_id in ids:
        matcher.accept(token_id)
    return matcher.accepting


def grammar_of(
    offer: ToolOffer,
    *,
    answer: Grammar | None = None,
    thinking: Thinking | None = None,
    dialect: str = "hermes",
) -> Grammar | None:
    return turn_grammar(
        answer, offer, dialect=TOOL_DIALECTS[dialect], special=frozenset(), thinking=thinking
    )


def test_nothing_is_held_to_nothing() -> None:
    assert grammar_of(ToolOffer(tools=(WEATHER, TIME))) is None
    assert grammar_of(ToolOffer(tools=(WEATHER, TIME), parallel=False)) is None
    assert grammar_of(ToolOffer()) is None
    assert grammar_of(ToolOffer(), thinking=Thinking(ends=("</think>",))) is None


def test_required(compiler: GrammarCompiler) -> None:
    grammar = grammar_of(ToolOffer(tools=(WEATHER, TIME), required=True))
    for text in (ROME, NOW, f"{ROME}\n{NOW}"):
        assert matches(compiler, grammar, text)
    for text in (
        "",
        "Rome",
        ROME[:-1],
        ROME + "x",
        ROME.replace('"Rome"', "5"),
        ROME.replace("days", "years"),  # an argument that the function does not have
        NOW.replace("{}", '{"zone": 1}'),
        NOW.replace("get_time", "get_tim"),
    ):
        assert not matches(compiler, grammar, text), text


def test_one_call_and_some_tools_only(compiler: GrammarCompiler) -> None:
    single = grammar_of(ToolOffer(tools=(WEATHER, TIME), required=True, parallel=False))
    assert matches(compiler, single, NOW)
    assert not matches(compiler, single, f"{NOW}\n{NOW}")
    named = grammar_of(
        ToolOffer(tools=(WEATHER, TIME), required=True, allowed=frozenset({"get_time"}))
    )
    assert matches(compiler, named, NOW)
    assert not matches(compiler, named, ROME)


def test_strict_tools_bind_where_a_call_begins(compiler: GrammarCompiler) -> None:
    strict = replace(WEATHER, strict=True)
    for offer in (
        ToolOffer(tools=(strict, TIME)),
        ToolOffer(tools=(WEATHER, TIME), allowed=frozenset({"get_weather", "get_time"})),
    ):
        grammar = grammar_of(offer)
        for text in ("No.", ROME, f"I see.\n{ROME}\n{NOW}"):
            assert matches(compiler, grammar, text)
        assert not matches(compiler, grammar, "I see.\n" + ROME.replace('"Rome"', "5"))
    only = grammar_of(ToolOffer(tools=(WEATHER, TIME), allowed=frozenset({"get_time"})))
    assert not matches(compiler, only, f"Well. {ROME}")


def test_strict_tools_of_a_dialect_without_markers(compiler: GrammarCompiler) -> None:
    grammar = grammar_of(ToolOffer(tools=(replace(TIME, strict=True),)), dialect="pythonic")
    for text in ("[get_time()]", "See [1].\n\n  x = [1]", "No."):
        assert matches(compiler, grammar, text), text
    for text in ("[get_tim()]", "[1]", "See:\n[get_tim()]"):
        assert not matches(compiler, grammar, text), text


def test_strict_tools_bind_behind_every_marker_of_a_call(compiler: GrammarCompiler) -> None:
    grammar = grammar_of(ToolOffer(tools=(replace(WEATHER, strict=True),)), dialect="granite")
    call = '[{"name": "get_weather", "arguments": {"city": "Rome"}}]'
    for marker in ("<|tool_call|>", "<tool_call>"):
        assert matches(compiler, grammar, f"I see. {marker}{call}")
        assert not matches(compiler, grammar, f"I see. {marker}" + call.replace('"Rome"', "5"))


def test_a_format_is_for_answers_without_calls(compiler: GrammarCompiler) -> None:
    answer = Grammar.json_schema({"type": "object", "properties": {"a": {"type": "integer"}}})
    offer = ToolOffer(tools=(TIME,))
    either = grammar_of(offer, answer=answer)
    assert matches(compiler, either, '{"a": 1}')
    assert matches(compiler, either, NOW)
    assert not matches(compiler, either, '{"a": "1"}')
    assert not matches(compiler, either, "Hi")
    required = grammar_of(replace(offer, required=True), answer=answer)
    assert not matches(compiler, required, '{"a": 1}')
    assert grammar_of(ToolOffer(), answer=answer) == answer
    with pytest.raises(RequestError, match="tool_choice"):
        grammar_of(offer, answer=Grammar.regex("a+"))


def test_thinking_comes_first(compiler: GrammarCompiler) -> None:
    offer = ToolOffer(tools=(TIME,), required=True)
    span = thinking_span(REASONING_DIALECTS["qwen3"], "assistant\n", limit=None)
    grammar = grammar_of(offer, thinking=span, dialect="pythonic")
    assert matches(compiler, grammar, "<think>[get_time()] or not</think>\n\n[get_time()]")
    assert matches(compiler, grammar, "[get_time()]")
    assert not matches(compiler, grammar, "<think>Hm.</think>Hm.")
    opened = thinking_span(REASONING_DIALECTS["qwen3"], "assistant\n<think>\n", limit=None)
    grammar = grammar_of(offer, thinking=opened)
    assert matches(compiler, grammar, f"Hm.</think>{NOW}")
    assert not matches(compiler, grammar, NOW)


def test_a_limit_closes_the_thinking(compiler: GrammarCompiler) -> None:
    opened = thinking_span(REASONING_DIALECTS["qwen3"], "<think>", limit=12)
    grammar = grammar_of(ToolOffer(), thinking=opened)
    assert matches(compiler, grammar, "Hm</think>Yes.")  # it may stop before
    assert matches(compiler, grammar, "Hm, and hm, </think>Yes.")
    assert not matches(compiler, grammar, "Hm, and hm, a</think>Yes.")


def test_markers_belong_together() -> None:
    span = thinking_span(REASONING_DIALECTS["mistral"], "x<think>\n", limit=None)
    assert span == Thinking(ends=("</think>", "[/THINK]"))
    span = thinking_span(REASONING_DIALECTS["mistral"], "[THINK]", limit=3)
    assert span == Thinking(ends=("[/THINK]", "</think>"), limit=3)
    assert thinking_span(None, "<think>", limit=3) is None
