"""Writes a `Grammar` in the form that llguidance reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import any_to_lark

from ftllm.errors import RequestError
from ftllm.text.grammar import Grammar, GrammarKind
from ftllm.text.lark_markers import mark_special_tokens
from ftllm.text.schema_limits import check_schema
from ftllm.text.structural_tag import structural_tag_sources

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

MAX_CHOICES = 10_000
MAX_RULES = 2000  # llguidance follows a rule's names by recursion

# Between two tokens of JSON: some blanks, or a line break and its indentation. JSON allows any
# amount, but a small model may never leave it.
_WHITESPACE = r"[ \t]{1,4}|\r?\n[ \t]{0,64}"
_RULE = re.compile(r"^[ \t]*[?!]?[A-Za-z_][\w-]*[^\n:]*:", re.MULTILINE)
_JSON_RULE = re.compile(r"%json\s*(?=\{)")
# What may stand between thinking and the answer.
_GAP = r"[ \t\r\n]{1,4}"

SpecialId = Callable[[str], int | None]
"""The id of a special token by its text; None where there is none."""


def grammar_sources(grammar: Grammar, special_id: SpecialId) -> dict[str, str]:
    """llguidance's source of what must follow each trigger; under "" what constrains the answer
    from its beginning, or from the end of its thinking. Empty when nothing does.

    Raises `RequestError` for what cannot be read; whether llguidance can compile it is not known.
    """
    if grammar.kind is GrammarKind.TEXT:
        return {}
    if grammar.kind is GrammarKind.STRUCTURAL_TAG:
        sources = structural_tag_sources(
            grammar.source,
            json_options=json_options(grammar.whitespace),
            special_id=special_id,
        )
        parts = {trigger: _lark(source, special_id) for trigger, source in sources.items()}
        if "" in parts and grammar.thinking is not None:
            parts[""] = _after_gap(parts[""])
        return parts
    source = _source(grammar, special_id)
    if grammar.triggers:
        return dict.fromkeys(grammar.triggers, source)
    return {"": source if grammar.thinking is None else _after_gap(source)}


def _source(grammar: Grammar, special_id: SpecialId) -> str:
    match grammar.kind:
        case GrammarKind.JSON_SCHEMA:
            return _json_schema(grammar.source, grammar.whitespace)
        case GrammarKind.REGEX:
            return LLMatcher.grammar_from_regex(grammar.source)
        case GrammarKind.CHOICE:
            return LLMatcher.grammar_from_lark(_choice(grammar.source))
        case _:
            return _lark(grammar.source, special_id)


def json_options(whitespace: str | None) -> dict[str, object]:
    """Unknown keywords are annotations, by JSON Schema's rules; known ones that llguidance cannot
    honour are errors (`lenient` would drop them)."""
    options: dict[str, object] = {"lenient": False, "coerce_one_of": False}
    if whitespace == "":
        return {**options, "whitespace_flexible": False}
    return {**options, "whitespace_pattern": whitespace or _WHITESPACE}


def _json_schema(source: str, whitespace: str | None) -> str:
    try:
        schema = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The schema is not valid JSON: {error}", param="grammar") from error
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        raise RequestError(
            f"The schema is {json.dumps(schema)[:50]}, which no answer can meet; a JSON Schema is"
            " an object.",
            param="grammar",
        )
    check_schema(schema)
    schema.pop("x-guidance", None)  # llguidance's options are not the request's to set
    options = cast("JsonCompileOptions", json_options(whitespace))
    try:
        return LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=options)
    except (ValueError, RecursionError) as error:  # nested too deeply
        raise RequestError(f"The schema cannot be read: {error}", param="grammar") from error


def _choice(source: str) -> str:
    choices = json.loads(source)
    if not choices or not all(isinstance(choice, str) and choice for choice in choices):
        raise RequestError(
            "choice must hold at least one text, and no empty ones.", param="grammar"
        )
    if len(choices) > MAX_CHOICES:
        raise RequestError(
            f"choice has {len(choices)} texts; at most {MAX_CHOICES} are allowed.", param="grammar"
        )
    texts = (json.dumps(choice, ensure_ascii=False) for choice in dict.fromkeys(choices))
    return f"start: {' | '.join(texts)}"


def _lark(source: str, special_id: SpecialId) -> str:
    if "::=" in source:
        try:
            source = any_to_lark(source)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"The GBNF cannot be read: {error}", param="grammar") from error
    rules = len(_RULE.findall(source))
    if rules > MAX_RULES:
        raise RequestError(
            f"The grammar has {rules} rules; at most {MAX_RULES} are allowed.", param="grammar"
        )
    for place in _JSON_RULE.finditer(source):
        check_schema(_json_at(source, place.end()))
    return LLMatcher.grammar_from_lark(mark_special_tokens(source, special_id))


def _json_at(source: str, place: int) -> object:
    """The JSON that begins there; None where there is none, which llguidance tells the user."""
    try:
        return json.JSONDecoder().raw_decode(source, place)[0]
    except (ValueError, RecursionError):
        return None


def _after_gap(source: str) -> str:
    """`source`, with some whitespace allowed in front."""
    inner = {"lark_grammar": source}  # llguidance takes Lark as it is …
    if source.startswith("{"):  # … or within JSON
        (inner,) = json.loads(source)["grammars"]
    outer = {"name": "answer_after_gap", "lark_grammar": f"start: GAP? @answer\nGAP: /{_GAP}/"}
    return json.dumps({"grammars": [outer, {**inner, "name": "answer"}]})
