"""What an answer has to look like, as a user states it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ftllm.errors import RequestError

MAX_SOURCE_CHARS = 1 << 20


class GrammarKind(str, Enum):
    """How `Grammar.source` is to be read."""

    JSON_SCHEMA = "json_schema"  # a JSON Schema (draft 2020-12), as JSON
    REGEX = "regex"  # a regular expression of the whole answer (Rust's syntax, no look-around)
    CHOICE = "choice"  # a JSON array of texts
    LARK = "lark"  # llguidance's dialect of Lark, or GBNF
    STRUCTURAL_TAG = "structural_tag"  # JSON, see structural_tag.py
    TEXT = "text"  # anything: only `thinking` constrains


@dataclass(frozen=True, slots=True, kw_only=True)
class Thinking:
    """Free text in front of an answer, which no grammar constrains. It cannot be left but by one of
    `ends`: until then no end-of-sequence token can be sampled."""

    ends: tuple[str, ...]  # markers that end it, such as "</think>"
    starts: tuple[
        str, ...
    ] = ()  # that may begin an answer; empty: the prompt has opened it already
    limit: int | None = None  # tokens; then the first of `ends` is forced


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Constrains an answer. Hashable: equal grammars are compiled once.

    With `triggers` the answer is free text; `source` describes what has to follow such a marker
    wherever the model writes one (the marker itself is no part of it), and after that the text is
    free again. Without, `source` describes the answer, or what follows `thinking`.
    """

    kind: GrammarKind
    source: str = ""
    whitespace: str | None = None  # regex of what is between tokens of JSON; "": nothing
    thinking: Thinking | None = None
    triggers: tuple[str, ...] = ()
    repeats: bool = True  # with triggers: False ends the answer after the first
    escapes: tuple[str, ...] = ()  # an answer that begins with one of these markers is free text
    param: str = field(default="grammar", compare=False)  # what errors name: the request's field

    def __post_init__(self) -> None:
        if len(self.source) > MAX_SOURCE_CHARS:
            raise RequestError(
                f"The {self.kind.value} has {len(self.source)} characters; at most"
                f" {MAX_SOURCE_CHARS} are allowed.",
                param=self.param,
            )
        thinking = self.thinking or Thinking(ends=("-",))
        if not thinking.ends or "" in (
            *self.triggers,
            *self.escapes,
            *thinking.ends,
            *thinking.starts,
        ):
            raise RequestError("A marker of a grammar is missing or empty.", param=self.param)

    @staticmethod
    def json_object(*, whitespace: str | None = None) -> Grammar:
        """Any JSON object."""
        return Grammar.json_schema({"type": "object"}, whitespace=whitespace)

    @staticmethod
    def json_schema(
        schema: Mapping[str, object] | bool | str, *, whitespace: str | None = None
    ) -> Grammar:
        """JSON that a schema allows; the schema may be given as JSON text."""
        source = schema if isinstance(schema, str) else _json(schema)
        return Grammar(kind=GrammarKind.JSON_SCHEMA, source=source, whitespace=whitespace)

    @staticmethod
    def regex(pattern: str) -> Grammar:
        return Grammar(kind=GrammarKind.REGEX, source=pattern)

    @staticmethod
    def choice(choices: Sequence[str]) -> Grammar:
        """One of these texts."""
        return Grammar(kind=GrammarKind.CHOICE, source=_json(list(choices)))

    @staticmethod
    def lark(source: str) -> Grammar:
        """A context-free grammar; its rule `start` is the whole. String literals in rules may hold
        special tokens of the vocabulary, which then stand for the tokens themselves."""
        return Grammar(kind=GrammarKind.LARK, source=source)

    @staticmethod
    def structural_tag(tag: Mapping[str, object] | str) -> Grammar:
        """Free text with tagged parts, in the forms that vLLM takes."""
        source = tag if isinstance(tag, str) else _json(tag)
        repeats = not _stops_after_first(source)
        return Grammar(kind=GrammarKind.STRUCTURAL_TAG, source=source, repeats=repeats)


def _stops_after_first(source: str) -> bool:
    """Said by a structural tag that is triggered tags; whether it is valid is found out later."""
    try:
        tag = json.loads(source)
    except (ValueError, RecursionError):
        return False
    format = tag.get("format") if isinstance(tag, dict) else None
    return isinstance(format, dict) and format.get("stop_after_first") is True


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"The grammar cannot be written as JSON: {error}", param="grammar"
        ) from error
