"""Grammars over a tiny vocabulary: what they allow, told by masks and by acceptance alike."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ftllm.errors import RequestError
from ftllm.text.grammar import Grammar, GrammarKind, Thinking
from ftllm.text.grammar_compiler import GrammarCompiler
from ftllm.text.tokenizer import Tokenizer
from tests.text.grammar_walk import Request, Walker
from tests.text.mask_rows import MaskArray

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def walker(byte_level: Tokenizer) -> Walker:
    return Walker(byte_level)


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (Grammar.json_schema(PERSON), '{"name": "\u00e9", "age": 12}', '{"a'),
        (Grammar.json_schema(PERSON), '{\n  "name": "a\\n"\n}', '{"name": 1'),
        (Grammar.json_schema(PERSON, whitespace=""), '{"name":"a"}', "{ "),
        (Grammar.json_schema(PERSON, whitespace="_"), '{_"name":_"a"}', "{ "),
        (Grammar.json_schema(True), "[1, true]", "[,"),
        (Grammar.json_schema('{"enum": ["\u4f60", 2]}'), '"\u4f60"', "3"),
        (Grammar.json_object(), '{"a": [{}]}', "["),
        (Grammar.regex(r"[a-c]+\d{2}"), "abc42", "abd"),
        (Grammar.regex("^yes$"), "yes", "yes!"),
        (Grammar.choice(["on", "once", 'a "b"\n\U0001f642']), 'a "b"\n\U0001f642', "of"),
        (Grammar.lark('start: "a" B\nB: /b+/'), "abbb", "b"),
        (Grammar.lark('root ::= "a" [0-9]+'), "a77", "ax"),
    ],
)
def test_what_it_allows(walker: Walker, grammar: Grammar, good: str, bad: str) -> None:
    matcher = walker.follow(grammar, walker.letters(good))
    assert matcher.accepting
    eos = walker.begin(grammar)
    for byte in walker.letters(good)[:-1]:
        eos.accept(byte)
    assert not eos.finished
    *fine, wrong = walker.letters(bad)
    matcher = walker.follow(grammar, fine)
    assert wrong not in walker.allowed(matcher)
    assert matcher.count_allowed([wrong]) == 0
    matcher.accept(wrong)
    assert matcher.error


def test_every_end_token_may_end_a_complete_answer_and_no_other(walker: Walker) -> None:
    ends = walker.tokenizer.eos_token_ids
    assert len(ends) == 2
    matcher = walker.follow(Grammar.regex("ab*"), [])
    assert not walker.allowed(matcher) & ends
    for end in ends:
        matcher = walker.follow(Grammar.regex("ab*"), walker.letters("ab"))
        assert walker.allowed(matcher) == {*walker.letters("b"), *ends}
        matcher.accept(end)
        assert matcher.finished
        assert not matcher.error


def test_an_answer_that_nothing_can_follow_is_finished(walker: Walker) -> None:
    matcher = walker.follow(Grammar.json_schema(PERSON), walker.letters('{"name": ""}'))
    assert matcher.finished
    assert matcher.accepting


def test_ids_beyond_the_tokenizer_and_special_tokens_are_never_allowed(walker: Walker) -> None:
    matcher = walker.follow(Grammar.json_schema({"type": "string"}), walker.letters('"'))
    inside = walker.allowed(matcher)
    assert max(inside) < walker.tokenizer.vocab_size
    assert not inside & walker.tokenizer.special_ids


def test_sentencepiece(sentencepiece: Tokenizer) -> None:
    walker = Walker(sentencepiece)
    ids = sentencepiece.encode("hello ababa", add_special_tokens=False)
    grammar = Grammar.regex(" ?hello (aba|ababa)")
    matcher = walker.follow(grammar, ids)
    assert walker.allowed(matcher) == sentencepiece.eos_token_ids


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        (Grammar.json_schema({"not": {"type": "string"}}), "not"),
        (Grammar.json_schema({"type": "array", "uniqueItems": True}), "uniqueItems"),
        (Grammar.json_schema({"type": "string", "format": "postcode"}), "postcode"),
        (Grammar.json_schema({"type": "strin"}), "strin"),
        (Grammar.json_schema({"$ref": "#/$defs/none"}), "none"),
        (Grammar.json_schema({"$ref": "https://example.com/a"}), "example.com"),
        (Grammar.json_schema({"type": "string", "pattern": "(?=a)"}), "look-around"),
        (Grammar.json_schema({"type": "string", "minLength": 3, "maxLength": 1}), "minLength"),
        (
            Grammar.json_schema({"x-guidance": {"lenient": True}, "not": {}}),
            "not",
        ),
        (
            Grammar.json_schema({"oneOf": [{"type": "integer"}, {"type": "number"}]}),
            "oneOf",
        ),
        (Grammar.json_schema(False), "false"),
        (Grammar.json_schema("[1]"), "[1]"),
        (Grammar.json_schema('{"a": '), "JSON"),
        (Grammar.regex("(a"), "unclosed"),
        (Grammar.choice([]), "at least one"),
        (Grammar.choice(["a", ""]), "empty"),
        (Grammar.choice(["a"] + [str(n) for n in range(10_000)]), "10001"),
        (Grammar.lark("begin: /a/"), "start"),
        (Grammar.lark("start: thing"), "thing"),
        (Grammar.lark("start: <|no_token|>"), "no_token"),
        (Grammar.structural_tag("[]"), "object"),
        (Grammar.structural_tag({"triggers": ["<"], "structures": []}), "structures"),
        (
            Grammar.structural_tag(
                {"triggers": ["<f"], "structures": [{"begin": "<g>", "schema": {}, "end": ""}]}
            ),
            "triggers",
        ),
        (
            Grammar.structural_tag(
                {"triggers": ["<"], "structures": [{"begin": "<g>", "end": "", "more": 1}]}
            ),
            "more",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_the_reason(
    walker: Walker, grammar: Grammar, reason: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(reason)):
        walker.compiler.compile(grammar)


def test_a_grammar_that_is_too_large_is_refused(walker: Walker) -> None:
    with pytest.raises(RequestError, match="1048576"):
        Grammar.regex("a" * (1 << 20) + "b")
    properties = {f"key{n}": {"type": "string"} for n in range(30_000)}
    with pytest.raises(RequestError, match="30000 properties"):
        walker.compiler.compile(Grammar.json_schema({"properties": properties}))


def test_equal_grammars_are_compiled_once(walker: Walker) -> None:
    first = walker.compiler.compile(Grammar.regex("once"))
    assert walker.compiler.compile(replace(Grammar.regex("once"), param="response_format")) is first
    assert walker.compiler.compile(Grammar.regex("twice")) is not first


def test_a_model_without_an_end_token_has_no_grammars(byte_level: Tokenizer) -> None:
    compiler = GrammarCompiler(byte_level, vocab_size=266, eos_token_ids=frozenset())
    with pytest.raises(RequestError, match="end-of-sequence"):
        compiler.compile(Grammar.regex("a"))


def test_masks_of_drafts_are_those_after_accepting_them(walker: Walker) -> None:
    thinking = Thinking(ends=("</t>",), limit=9)
    grammars = {
        "schema": (Grammar.json_schema(PERSON), walker.letters('{"name": "abc"}')),
        "wrong": (Grammar.json_schema(PERSON), walker.letters('{"nami')),
        "thinking": (
            replace(Grammar.json_schema(PERSON), thinking=thinking),
            walker.letters('ab</t>\n{"name": ""}'),
        ),
        "triggers": (
            replace(Grammar.regex("=[0-9]>"), triggers=("<f",)),
            walker.letters("a <f=7> b <f=8"),
        ),
    }
    requests = []
    expected: dict[int, set[int]] = {}
    rows = 0
    for grammar, drafts in grammars.values():
        matcher = walker.begin(grammar)
        requests.append(Request(matcher, rows, tuple(drafts)))
        alone = walker.begin(grammar)
        for place, draft in enumerate(drafts):
            expected[rows + place] = walker.allowed(alone)
            if draft not in expected[rows + place]:
                break
            alone.accept(draft)
        else:
            if not alone.finished:
                expected[rows + len(drafts)] = walker.allowed(alone)
        rows += len(drafts) + 1
    masks = MaskArray(rows, walker.vocab_size)
    walker.compiler.fill(requests, masks)
    assert {row: masks.allowed(row) for row in expected} == expected
    for request in requests:  # nothing of it has changed them
        first = walker.allowed(request.matcher)
        assert first == expected[request.row]


def test_drafts_are_counted_up_to_the_first_that_the_grammar_excludes(
    walker: Walker,
) -> None:
    for grammar in (
        Grammar.regex("ab+c"),
        replace(Grammar.regex("b+c"), thinking=Thinking(ends=("a",))),
        replace(Grammar.regex("b+c"), triggers=("a",)),
    ):
        matcher = walker.begin(grammar)
        assert matcher.count_allowed(walker.letters("abbc")) == 4
        assert matcher.count_allowed(walker.letters("abbd")) == 3
        assert matcher.count_allowed([]) == 0


def test_kind_text_constrains_nothing(walker: Walker) -> None:
    matcher = walker.compiler.compile(Grammar(kind=GrammarKind.TEXT)).matcher()
    assert matcher.unconstrained
    assert matcher.accepting
