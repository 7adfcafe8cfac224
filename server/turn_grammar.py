"""What an answer must look like, from all that a turn asks: a format, calls, limits of thinking."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from dataclasses import replace

from ftllm.errors import RequestError
from ftllm.server.conversation import FunctionTool, ToolOffer
from ftllm.text.grammar import Grammar, GrammarKind, Thinking
from ftllm.text.grammar_source import json_options
from ftllm.tool_parsers import AnyReasoningDialect, AnyToolDialect, starts_in_reasoning
from ftllm.tool_parsers.dialect import ToolDialect

# What may describe further arguments, beside the properties of a schema.
_OPEN_ENDS = ("additionalProperties", "patternProperties", "$ref", "anyOf", "oneOf", "allOf")


def thinking_span(
    dialect: AnyReasoningDialect | None, prompt_tail: str, *, limit: int | None
) -> Thinking | None:
    """The thinking that may come before an answer; None: the answer comes at once."""
    if dialect is None:
        return None
    if not starts_in_reasoning(dialect.name, prompt_tail):
        return Thinking(ends=dialect.ends, starts=dialect.starts, limit=limit)
    opened = prompt_tail.rstrip()
    ends = list(dialect.ends)
    for start, its_end in zip(dialect.starts, dialect.ends, strict=False):
        if opened.endswith(start.rstrip()):
            ends.sort(key=lambda end: end != its_end)  # the one that is forced
    return Thinking(ends=tuple(ends), limit=limit)


def turn_grammar(
    answer: Grammar | None,
    offer: ToolOffer,
    *,
    dialect: AnyToolDialect | None,
    special: Container[str],
    thinking: Thinking | None,
) -> Grammar | None:
    """None: the answer is free. `answer` is the format asked for, `special` are the texts of
    special tokens. Raises `RequestError` for what cannot be guaranteed together."""
    if offer.tools and dialect is not None:
        answer = _with_calls(answer, offer, dialect, special)
    if thinking is None:
        return answer
    if answer is not None:
        return replace(answer, thinking=thinking)
    if thinking.limit is None:
        return None
    return Grammar(kind=GrammarKind.TEXT, thinking=thinking)


def _with_calls(
    answer: Grammar | None, offer: ToolOffer, dialect: AnyToolDialect, special: Container[str]
) -> Grammar | None:
    tools = offer.callable_tools
    if not (offer.required or answer or offer.allowed or any(tool.strict for tool in tools)):
        return None

    forms = [_closed_form(tool) for tool in tools]
    if offer.required:
        return _lark(dialect.grammar(forms, parallel=offer.parallel, special=special))
    if answer is None:
        behind = dialect.grammar_behind_trigger(forms, parallel=offer.parallel, special=special)
        if behind is not None:
            return replace(_lark(behind), triggers=dialect.triggers, repeats=offer.parallel)
    calls = dialect.grammar(forms, parallel=offer.parallel, special=special)
    other = f"/{_text_without(dialect)}/" if answer is None else _json_rule(answer)
    # The first line of `calls` is its rule `start`.
    return _lark(f"start: calls | other\nother: {other}\ncalls{calls.removeprefix('start')}")


def _lark(source: str) -> Grammar:
    """What cannot be honoured in it comes from the tools' schemas."""
    return replace(Grammar.lark(source), param="tools")


def _json_rule(answer: Grammar) -> str:
    if answer.kind is not GrammarKind.JSON_SCHEMA:
        raise RequestError(
            f"tools: whether the answer is a call or matches the {answer.kind.value} cannot be left"
            ' to the model; only JSON formats can be. Set tool_choice to "none" or "required".',
            param="tools",
            code="unsupported_value",
        )
    schema = json.loads(answer.source)
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    options = json_options(answer.whitespace)
    return f"%json {json.dumps({**schema, 'x-guidance': options}, ensure_ascii=False)}"


def _text_without(dialect: AnyToolDialect) -> str:
    """A regular expression of texts of which no line begins as a call does that has no marker."""
    bare = dialect.bare if isinstance(dialect, ToolDialect) else ()
    first = "".join(sorted({re.escape(text[0]) for text in bare}))
    line = rf"([^{first}\s][^\n]*|[ \t]+[^{first}\s][^\n]*|[ \t]*)"
    return rf"{line}(\n{line})*"


def _closed_form(tool: FunctionTool) -> Mapping[str, object]:
    """With no arguments beyond those that the schema names, unless it speaks of others."""
    form = tool.template_form()
    function = form["function"]
    assert isinstance(function, dict)
    parameters = function["parameters"]
    if not any(key in parameters for key in _OPEN_ENDS):
        function["parameters"] = {"properties": {}, **parameters, "additionalProperties": False}
    return form
