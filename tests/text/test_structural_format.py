"""Structural tags as a tree of formats, walked token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ftllm.errors import RequestError
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.gguf_vocabulary import TokenKind
from ftllm.text.grammar import Grammar, Thinking
from tests.text.grammar_walk import Walker
from tests.text.tiny_vocabularies import PREFIX, byte_level_keys

SPECIAL = ("[C]", "<|end|>")

INTEGER = {"type": "json_schema", "json_schema": {"type": "integer"}}
TEXT = {"type": "any_text"}


@pytest.fixture(scope="module")
def walker() -> Walker:
    keys = byte_level_keys()
    pieces, kinds = keys[PREFIX + "tokens"], keys[PREFIX + "token_type"]
    assert isinstance(pieces, list)
    assert isinstance(kinds, list)
    keys[PREFIX + "tokens"] = [*pieces, *SPECIAL]
    keys[PREFIX + "token_type"] = [*kinds, *[int(TokenKind.CONTROL)] * len(SPECIAL)]
    return Walker(tokenizer_from_gguf(keys))


def const(value: str) -> dict[str, Any]:
    return {"type": "const_string", "value": value}


def tag(begin: str, content: object, end: object) -> dict[str, Any]:
    return {"type": "tag", "begin": begin, "content": content, "end": end}


def sequence(*elements: object) -> dict[str, Any]:
    return {"type": "sequence", "elements": list(elements)}


def grammar_of(format: object) -> Grammar:
    return Grammar.structural_tag({"type": "structural_tag", "format": format})


def matches(walker: Walker, format: object, text: str) -> bool:
    matcher = walker.begin(grammar_of(format))
    for token_id in walker.ids(text):
        if matcher.finished or matcher.count_allowed([token_id]) != 1:
            return False
        matcher.accept(token_id)
        assert not matcher.error
    return matcher.accepting


CALLS = {
    "type": "triggered_tags",
    "triggers": ["<f"],
    "tags": [tag("<f=a>", INTEGER, "</f>"), tag("<f=b>", TEXT, "</f>")],
}
SEPARATED = {
    "type": "tags_with_separator",
    "tags": [tag("<a>", INTEGER, "</a>"), {"begin": "<b>", "content": TEXT, "end": "</b>"}],
    "separator": ", ",
}


@pytest.mark.parametrize(
    ("format", "good", "bad"),
    [
        (const("yes / no"), ["yes / no"], ["yes", "no", "yes / no!"]),
        (INTEGER, ["12"], ["x", ""]),
        ({"type": "regex", "pattern": "a/b\n?[0-9]"}, ["a/b7", "a/b\n7"], ["a/b", "ab7"]),
        (TEXT, ["", "any\nthing"], []),
        ({**TEXT, "excludes": ["no", "</x>"]}, ["</x yes"], ["a no b", "</x>"]),
        (sequence(const("a"), INTEGER, const(";"), TEXT), ["a1;", "a1;?"], ["a;", "a1"]),
        ({"type": "or", "elements": [const("a"), INTEGER]}, ["a", "5"], ["b", "a5", ""]),
        ({"type": "optional", "content": const("a")}, ["", "a"], ["aa"]),
        ({"type": "star", "content": const("a")}, ["", "aaa"], ["b"]),
        ({"type": "plus", "content": const("a")}, ["a", "aa"], [""]),
        (tag("<t>", INTEGER, "</t>"), ["<t>1</t>"], ["<t></t>", "<t>1</t>x"]),
        (tag("<t>", TEXT, "</t>"), ["<t></t>", "<t>1</</t>"], ["<t>", "<t></t></t>", "<t>x</t"]),
        (tag("<t>", TEXT, ["</t>", "."]), ["<t>a.", "<t>a</t>"], ["<t>a.</t>"]),
        (tag("<t>", INTEGER, ["</t>", ""]), ["<t>1</t>", "<t>1"], ["<t>1."]),
        (tag("<t>", tag("<u>", TEXT, "/"), "</t>"), ["<t><u>x/</t>"], ["<t><u>x</t>"]),
        (SEPARATED, ["", "<a>1</a>", "<b>x</b>, <a>1</a>"], ["<a>1</a>,<b>x</b>", "x"]),
        ({**SEPARATED, "at_least_one": True}, ["<a>1</a>, <a>2</a>"], [""]),
        ({**SEPARATED, "stop_after_first": True}, ["", "<b>x</b>"], ["<a>1</a>, <a>1</a>"]),
        ({**SEPARATED, "separator": ""}, ["<a>1</a><b></b>"], ["<a>1</a>, <b></b>"]),
        ({"type": "grammar", "grammar": 'root ::= "a" | "b"'}, ["a", "b"], ["c"]),
        (CALLS, ["", "so <f=a>1</f> and <f=b>x</f>.", "< f"], ["so <f=a>x</f>", "<f=c>"]),
        ({**CALLS, "at_least_one": True}, ["<f=a>1</f> so <f=b>?</f>"], ["", "so <f=a>1</f>"]),
        ({**CALLS, "stop_after_first": True}, ["so <f=a>1</f>"], ["<f=a>1</f> so"]),
        (
            {**CALLS, "at_least_one": True, "stop_after_first": True},
            ["<f=b>x</f>"],
            ["", "<f=b>x</f>x"],
        ),
        (
            sequence(tag("<think>", TEXT, "</think>"), CALLS),
            ["<think>Hm</think>", "<think>Hm</think>so <f=a>1</f>."],
            ["so", "<think>Hm</think><f=a>x</f>"],
        ),
        (
            sequence(const("!"), {**CALLS, "at_least_one": True}),
            ["!<f=a>1</f>", "!<f=a>1</f>x<f=b>x</f>"],
            ["!", "!x<f=a>1</f>"],
        ),
    ],
)
def test_formats(walker: Walker, format: object, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert matches(walker, format, text), text
    for text in bad:
        assert not matches(walker, format, text), text


def test_special_tokens_are_tokens(walker: Walker) -> None:
    (end,) = walker.ids("<|end|>")
    assert end in walker.tokenizer.special_ids
    for content in (TEXT, const("x")):
        matcher = walker.begin(grammar_of(tag("[C]", content, "<|end|>")))
        for token_id in [*walker.ids("[C]"), *walker.letters("x"), end]:
            assert token_id in walker.allowed(matcher)
            matcher.accept(token_id)
        assert matcher.finished
        assert not matcher.error


def test_after_thinking(walker: Walker) -> None:
    grammar = grammar_of(sequence(const("!"), CALLS))
    thinking = Thinking(ends=("</think>",), starts=("<think>",))
    later = replace(grammar, thinking=thinking)
    for text in ("!<f=a>1</f>", "<think>?</think> !<f=a>1</f>."):
        matcher = walker.begin(later)
        walker.accept(matcher, walker.ids(text))
        assert matcher.accepting


@pytest.mark.parametrize(
    ("format", "reason"),
    [
        ([], "format must be an object with a type"),
        ({"type": "qwen_xml_parameter", "json_schema": {}}, "'qwen_xml_parameter'"),
        ({"type": "token", "token": 5}, "'token'"),
        ({**INTEGER, "style": "glm_xml"}, "format.style 'glm_xml'"),
        ({"type": "regex", "pattern": "a", "excludes": ["b"]}, "format.excludes"),
        (const(""), "format.value"),
        (sequence(), "format.elements"),
        (sequence(TEXT, const("a")), "format.elements[0]: any_text"),
        (sequence(CALLS, const("a")), "format.elements[0]: triggered_tags"),
        (tag("<t>", CALLS, "</t>"), "format.content: triggered_tags"),
        (tag("<t>", TEXT, ""), "format.end is empty"),
        (tag("<t>", TEXT, 5), "format.end"),
        (tag("<t>", TEXT, ["<|end|>", "."]), "cannot be mixed"),
        (sequence(const("a"), {**CALLS, "stop_after_first": True}), "stop_after_first"),
        ({**CALLS, "triggers": ["<f", "<g"]}, "'<g'"),
        ({**CALLS, "tags": [tag("<g>", TEXT, "</g>")]}, "tags[0].begin"),
        ({**CALLS, "tags": [const("a")]}, "tags[0] must be a tag"),
        ({**CALLS, "at_least_one": 1}, "at_least_one"),
        ({**SEPARATED, "separator": None}, "separator"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(
    walker: Walker, format: object, reason: str
) -> None:
    with pytest.raises(RequestError) as caught:
        walker.begin(grammar_of(format))
    assert reason in str(caught.value)


def test_depth_and_number_are_limited(walker: Walker) -> None:
    deep: object = const("a")
    for _ in range(40):
        deep = sequence(deep)
    with pytest.raises(RequestError, match="deeper than 32"):
        walker.begin(grammar_of(deep))
    with pytest.raises(RequestError, match="1024 formats"):
        walker.begin(grammar_of(sequence(*[const("a")] * 2000)))
