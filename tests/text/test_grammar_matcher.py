"""Free text before, between and after constrained parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.gguf_vocabulary import TokenKind
from ftllm.text.grammar import Grammar, GrammarKind, Thinking
from tests.text.grammar_walk import Walker
from tests.text.tiny_vocabularies import PREFIX, byte_level_keys

ANSWER = Grammar.regex("[0-9]{2}")
CALL = Grammar(kind=GrammarKind.REGEX, source="=[0-9]+>")
# "</t>" is one token that is no special one, "[C]" a special one; the others run over markers.
MORE = {
    "</t>": TokenKind.USER_DEFINED,
    "[C]": TokenKind.CONTROL,
    ">\n\n": TokenKind.NORMAL,
    ">x": TokenKind.NORMAL,
    "a</t>7": TokenKind.NORMAL,
    "f=": TokenKind.NORMAL,
    "fx": TokenKind.NORMAL,
}


@pytest.fixture(scope="module")
def walker() -> Walker:
    keys = byte_level_keys()
    pieces, kinds = keys[PREFIX + "tokens"], keys[PREFIX + "token_type"]
    assert isinstance(pieces, list)
    assert isinstance(kinds, list)
    keys[PREFIX + "tokens"] = [*pieces, *(text.replace("\n", "Ċ") for text in MORE)]
    keys[PREFIX + "token_type"] = [*kinds, *map(int, MORE.values())]
    return Walker(tokenizer_from_gguf(keys))


def token(walker: Walker, text: str) -> int:
    """The id of one of MORE."""
    return walker.tokenizer.vocab_size - len(MORE) + list(MORE).index(text)


def test_thinking_is_free_but_must_end(walker: Walker) -> None:
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=("</t>",))))
    assert not matcher.unconstrained  # it must not end
    assert not matcher.accepting
    everything = set(range(walker.vocab_size)) - walker.tokenizer.eos_token_ids
    excluded = everything - walker.allowed(matcher)
    assert excluded == set()
    walker.accept(matcher, walker.letters('hm {"12" < /t> '))
    assert not walker.allowed(matcher) & walker.tokenizer.eos_token_ids
    walker.accept(matcher, [token(walker, "</t>")])
    digits = set(walker.letters("0123456789"))
    assert walker.allowed(matcher) == digits | set(walker.letters(" \n\t\r"))
    walker.accept(matcher, walker.letters("\n\n42"))
    assert matcher.finished


@pytest.mark.parametrize("limit", [0, 1, 5])
def test_thinking_that_reaches_its_limit_is_ended(walker: Walker, limit: int) -> None:
    end = "</thinking>"
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=(end, "!"), limit=limit)))
    walker.accept(matcher, walker.letters("</thi"[:limit]))
    for token_id in walker.ids(end):
        assert walker.allowed(matcher) == {token_id}
        matcher.accept(token_id)
    walker.accept(matcher, walker.letters("42"))
    assert matcher.finished


def test_thinking_that_ends_by_itself_is_not_ended_again(walker: Walker) -> None:
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=("</t>", "!"), limit=3)))
    walker.accept(matcher, walker.letters("ab!42"))
    assert matcher.finished


def test_the_end_of_thinking_inside_a_token(walker: Walker) -> None:
    """What follows the marker in its token has to begin an answer."""
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=("</t>",))))
    walker.accept(matcher, [token(walker, "a</t>7")])
    walker.accept(matcher, walker.letters("8"))
    assert matcher.finished
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=("</t>",))))
    walker.accept(matcher, walker.letters("</t"))
    left = walker.allowed(matcher)
    assert token(walker, ">\n\n") in left
    assert token(walker, ">x") not in left  # an x begins no answer
    assert matcher.count_allowed([token(walker, ">x")]) == 0
    walker.accept(matcher, [token(walker, ">\n\n"), *walker.letters("42")])
    assert matcher.finished
    matcher = walker.begin(replace(ANSWER, thinking=Thinking(ends=("</t>",))))
    assert token(walker, ">x") in walker.allowed(matcher)  # far from the marker it is free


def test_an_answer_may_begin_with_thinking_or_without(walker: Walker) -> None:
    thinking = Thinking(starts=("<t>", "<think>"), ends=("</t>",))
    grammar = replace(ANSWER, thinking=thinking)
    matcher = walker.begin(grammar)
    digits = set(walker.letters("0123456789"))
    assert walker.allowed(matcher) == digits | set(walker.letters(" \n\t\r<"))
    walker.accept(matcher, walker.letters("42"))
    assert matcher.finished
    matcher = walker.begin(grammar)
    walker.accept(matcher, walker.letters("<"))
    assert walker.allowed(matcher) == set(walker.letters("t"))
    walker.accept(matcher, walker.letters("t"))
    assert walker.allowed(matcher) == set(walker.letters(">h"))
    assert not matcher.accepting
    walker.accept(matcher, [*walker.letters(">so"), token(walker, "</t>")])
    walker.accept(matcher, walker.letters("42"))
    assert matcher.finished


def test_an_answer_that_escapes_is_free_for_good(walker: Walker) -> None:
    grammar = replace(ANSWER, thinking=Thinking(ends=("</t>",)), escapes=("[C]",))
    matcher = walker.begin(grammar)
    walker.accept(matcher, walker.letters("so</t>"))
    walker.accept(matcher, walker.letters("\n"))
    assert token(walker, "[C]") in walker.allowed(matcher)
    walker.accept(matcher, [token(walker, "[C]")])
    assert matcher.unconstrained
    assert matcher.accepting
    walker.accept(matcher, [*walker.letters("f()"), token(walker, "[C]")])
    assert matcher.unconstrained
    matcher = walker.begin(grammar)
    walker.accept(matcher, walker.letters("so</t>4"))
    assert token(walker, "[C]") not in walker.allowed(matcher)


def test_text_is_free_until_a_trigger_and_after_what_follows_it(walker: Walker) -> None:
    matcher = walker.begin(replace(CALL, triggers=("<f", "[C]")))
    assert matcher.unconstrained
    walker.accept(matcher, walker.letters("a <<g> <"))
    walker.accept(matcher, walker.letters("f"))
    assert walker.allowed(matcher) == set(walker.letters("="))
    assert not matcher.accepting
    walker.accept(matcher, walker.letters("=12>"))
    assert matcher.unconstrained
    assert not matcher.finished
    walker.accept(matcher, [*walker.letters("b"), token(walker, "[C]")])
    assert walker.allowed(matcher) == set(walker.letters("="))
    walker.accept(matcher, walker.letters("=3>"))
    assert walker.tokenizer.eos_token_ids <= walker.allowed(matcher)
    matcher.accept(min(walker.tokenizer.eos_token_ids))
    assert matcher.finished


def test_without_repeats_the_first_ends_the_answer(walker: Walker) -> None:
    matcher = walker.begin(replace(CALL, triggers=("<f",), repeats=False))
    walker.accept(matcher, walker.letters("a <f=12>"))
    assert matcher.finished


def test_a_trigger_inside_a_token(walker: Walker) -> None:
    matcher = walker.begin(replace(CALL, triggers=("<f",)))
    walker.accept(matcher, walker.letters("<"))
    assert not matcher.unconstrained
    left = walker.allowed(matcher)
    assert token(walker, "f=") in left
    assert token(walker, "fx") not in left
    walker.accept(matcher, [token(walker, "f="), *walker.letters("1>")])
    assert matcher.unconstrained


def test_triggers_after_thinking(walker: Walker) -> None:
    grammar = replace(CALL, triggers=("<f",), thinking=Thinking(ends=("</t>",)))
    matcher = walker.begin(grammar)
    walker.accept(matcher, walker.letters("<fx</t>a"))
    assert matcher.unconstrained
    walker.accept(matcher, walker.letters("<f"))
    assert walker.allowed(matcher) == set(walker.letters("="))


def test_thinking_with_free_text_after_it(walker: Walker) -> None:
    grammar = Grammar(kind=GrammarKind.TEXT, thinking=Thinking(ends=("</t>",), limit=2))
    matcher = walker.begin(grammar)
    walker.accept(matcher, [*walker.letters("ab"), token(walker, "</t>")])
    assert matcher.unconstrained


def test_markers_in_a_lark_grammar_are_special_tokens_where_they_are(walker: Walker) -> None:
    grammar = Grammar.lark('start: "[C]" NAME "</t>"\nNAME: /[a-z]/')
    matcher = walker.begin(grammar)
    assert walker.allowed(matcher) == {token(walker, "[C]")}
    walker.accept(matcher, [token(walker, "[C]"), *walker.letters("x"), token(walker, "</t>")])
    assert matcher.finished


def test_structural_tag(walker: Walker) -> None:
    integer = {"type": "integer"}
    tag = {
        "type": "structural_tag",
        "triggers": ["<f", "[C]"],
        "structures": [
            {"begin": "<f=a>", "schema": integer, "end": "</f>"},
            {"begin": "<f=b>", "schema": {"enum": ["x"]}, "end": "</f>"},
            {"begin": "[C]", "schema": integer, "end": ";"},
        ],
    }
    matcher = walker.begin(Grammar.structural_tag(tag))
    assert matcher.unconstrained
    walker.accept(matcher, walker.letters('hi <f=b>"x"</f> and <f=a>12</f>.'))
    assert matcher.unconstrained
    walker.accept(matcher, [token(walker, "[C]"), *walker.letters("-3;")])
    assert matcher.unconstrained
    walker.accept(matcher, walker.letters("<f=b>"))
    assert walker.allowed(matcher) == set(walker.letters('"'))
