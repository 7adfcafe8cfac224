"""response_format and structured_outputs: what reaches the engine, and what is refused."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from dataclasses import replace

import pytest

from ftllm.engine.matcher import TokenMatcher
from ftllm.errors import RequestError
from ftllm.server.app import create_app
from ftllm.server.grammars import Grammars
from ftllm.server.metrics.histogram import Histogram
from ftllm.server.schemas.structured_output import StructuredOutputs
from ftllm.server.settings import ServerSettings
from ftllm.text.grammar import Grammar
from ftllm.text.grammar_compiler import CompiledGrammar, GrammarCompiler

from .api import Api, chunks_of, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel, byte_tokenizer, says

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
NAMED = {"name": "answer", "schema": SCHEMA, "strict": True}
FORMAT = {"type": "json_schema", "json_schema": NAMED}
TAG = {"triggers": ["<f"], "structures": [{"begin": "<f>", "schema": SCHEMA, "end": "</f>"}]}


def matches(matcher: TokenMatcher, text: str) -> bool:
    """The whole text, a token a byte."""
    ids = list(text.encode())
    if matcher.count_allowed(ids) < len(ids):
        return False
    for token_id in ids:
        matcher.accept(token_id)
    return matcher.accepting


def matcher_of(engine: FakeEngine, place: int = -1) -> TokenMatcher:
    grammar = engine.requests[place].params.grammar
    assert grammar is not None
    return grammar.matcher()


CONSTRAINTS = [
    ({"response_format": FORMAT}, '{"a": 1}', '{"b": 1}'),
    ({"response_format": {"type": "json_object"}}, '{"b": []}', "[]"),
    ({"response_format": {"type": "structural_tag", **TAG}}, 'so <f>{"a": 1}</f>', "<f>{}"),
    ({"structured_outputs": {"json": SCHEMA}}, '{ "a":1}', "{}"),
    ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, '{"a":1}', "{}"),
    ({"structured_outputs": {"json": True}}, "[0]", "[0"),
    (
        {"structured_outputs": {"json": SCHEMA, "disable_any_whitespace": True}},
        '{"a":1}',
        '{"a": 1}',
    ),
    ({"structured_outputs": {"json": SCHEMA, "whitespace_pattern": "x"}}, '{x"a":1}', '{ "a":1}'),
    (
        {
            "structured_outputs": {
                "json": {"anyOf": [{"properties": {"a": {"type": "integer"}}}]},
                "disable_additional_properties": True,
                "disable_fallback": True,
            }
        },
        '{"a": 1}',
        '{"a": 1, "b": 2}',
    ),
    ({"structured_outputs": {"json_object": True}}, "{}", "1"),
    ({"structured_outputs": {"regex": "a+"}}, "aa", "b"),
    ({"structured_outputs": {"choice": ["yes", "no"]}}, "no", "maybe"),
    ({"structured_outputs": {"grammar": 'start: "x" "y"'}}, "xy", "x"),
    ({"structured_outputs": {"structural_tag": TAG}}, 'so <f>{"a": 1}</f>', "<f>{}"),
    ({"structured_outputs": {"structural_tag": json.dumps(TAG)}}, "free", "<f>{}"),
    ({"guided_json": SCHEMA}, '{"a": 1}', "{}"),
    ({"guided_regex": "a+"}, "aa", "b"),
    ({"guided_choice": ["yes", "no"]}, "no", "maybe"),
    ({"guided_grammar": 'start: "x" "y"'}, "xy", "x"),
]


@pytest.mark.parametrize(("fields", "good", "bad"), CONSTRAINTS)
def test_a_constraint_reaches_the_engine(
    api: Api, engine: FakeEngine, fields: dict[str, object], good: str, bad: str
) -> None:
    for send in (api.chat, api.complete):
        assert send(**fields).status_code == 200
        assert matches(matcher_of(engine), good)
        assert not matches(matcher_of(engine), bad)


@pytest.mark.parametrize("field", ["response_format", "structured_outputs"])
def test_text_is_free(api: Api, engine: FakeEngine, field: str) -> None:
    value = {"type": "text"} if field == "response_format" else None
    for send in (api.chat, api.complete):
        assert send(**{field: value}).status_code == 200
        assert engine.requests[-1].params.grammar is None


def test_every_choice_has_a_place_of_its_own_in_one_compiled_grammar(
    api: Api, engine: FakeEngine
) -> None:
    assert api.chat(n=3, response_format=FORMAT, logprobs=True, stop=["x"]).status_code == 200
    first, second, third = (request.params.grammar for request in engine.requests)
    assert first is second is third
    assert matcher_of(engine, 0) is not matcher_of(engine, 0)


def test_streams_are_constrained_too(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says('{"a": 1}')[:-1]  # the grammar ends it, without an end token
    chunks = chunks_of(api.chat(stream=True, response_format=FORMAT))
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert json.loads(text) == {"a": 1}
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert matches(matcher_of(engine), text)


@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
        ({"response_format": {}}, "response_format.type", ""),
        ({"response_format": "json_object"}, "response_format", ""),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", ""),
        (
            {"response_format": {"type": "json_object", "json_schema": NAMED}},
            "response_format.json_schema",
            "json_object",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
            "",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
            "",
        ),
        (
            {"response_format": {**FORMAT, "json_schema": {**NAMED, "name": "a b"}}},
            "response_format.json_schema.name",
            "",
        ),
        (
            {"response_format": {**FORMAT, "json_schema": {**NAMED, "schema": {"not": {}}}}},
            "response_format",
            "not",
        ),
        ({"response_format": {**FORMAT, "extra": 1}}, "response_format.extra", ""),
        (
            {"response_format": {**FORMAT, "json_schema": {**NAMED, "extra": 1}}},
            "response_format.json_schema.extra",
            "",
        ),
        ({"response_format": {"type": "structural_tag"}}, "response_format", "triggers"),
        ({"structured_outputs": {}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "regex"),
        ({"structured_outputs": {"regexp": "a"}}, "structured_outputs.regexp", ""),
        ({"structured_outputs": {"regex": "(a"}}, "structured_outputs", "unclosed"),
        ({"structured_outputs": {"regex": "a(?=b)"}}, "structured_outputs", "look-around"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs", "at least one"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs.json", "JSON"),
        ({"structured_outputs": {"json": [1]}}, "structured_outputs.json", "Schema"),
        ({"structured_outputs": {"structural_tag": 1}}, "structured_outputs.structural_tag", ""),
        ({"structured_outputs": {"grammar": "start: b"}}, "structured_outputs", '"b"'),
        (
            {"response_format": FORMAT, "structured_outputs": {"regex": "a"}},
            "structured_outputs",
            "response_format",
        ),
        ({"guided_json": SCHEMA, "guided_regex": "a"}, "guided_regex", "guided_json"),
        ({"guided_regex": "("}, "guided_regex", "unclosed"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    api: Api, engine: FakeEngine, fields: dict[str, object], param: str, part: str
) -> None:
    for send in (api.chat, api.complete):
        for stream in (False, True):
            error = error_of(send(stream=stream, **fields), 400)
            assert error["param"] == param
            assert part in error["message"]
    assert engine.requests == []


def test_a_grammar_that_takes_too_long_is_refused(model: FakeModel, engine: FakeEngine) -> None:
    class SlowCompiler(GrammarCompiler):
        def submit(self, grammar: Grammar) -> Future[CompiledGrammar]:
            return Future()  # never done

    compiler = SlowCompiler(byte_tokenizer(), vocab_size=300, eos_token_ids=frozenset({257}))
    object.__setattr__(model, "grammars", compiler)
    api = Api(create_app(model, ServerSettings(grammar_timeout=0.05)))
    error = error_of(api.chat(response_format=FORMAT), 400)
    assert (error["param"], error["code"]) == ("response_format", "grammar_timeout")
    assert "0.05 s" in error["message"]


def test_a_request_that_is_given_up_does_not_stop_others_from_waiting(model: FakeModel) -> None:
    started, go = threading.Event(), threading.Event()

    class GatedCompiler(GrammarCompiler):
        def _compile(self, grammar: Grammar) -> CompiledGrammar:
            started.set()
            go.wait(10)
            return super()._compile(grammar)

    compiler = GatedCompiler(byte_tokenizer(), vocab_size=300, eos_token_ids=frozenset({257}))
    grammars = Grammars(compiler, timeout=10, seconds=Histogram((1.0,)))
    grammar = Grammar.regex("ab")

    async def run() -> None:
        first = asyncio.create_task(grammars.compiled(grammar))
        second = asyncio.create_task(grammars.compiled(replace(grammar, param="other")))
        await asyncio.to_thread(started.wait, 10)
        first.cancel()
        go.set()
        compiled = await second
        assert compiled is not None
        assert matches(compiled.matcher(), "ab")
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(run())
    compiler.close()


def test_errors_name_the_field_of_each_request(model: FakeModel) -> None:
    grammars = Grammars(model.grammars, timeout=10, seconds=Histogram((1.0,)))
    for param in ("guided_regex", "structured_outputs"):
        with pytest.raises(RequestError) as caught:
            asyncio.run(grammars.compiled(replace(Grammar.regex("("), param=param)))
        assert caught.value.param == param


def test_schemas_are_documented_by_their_names_on_the_wire() -> None:
    assert "json" in StructuredOutputs.model_json_schema()["properties"]
