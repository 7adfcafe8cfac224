"""The fields that say what an answer has to look like, as one grammar."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from ftllm.errors import RequestError
from ftllm.server.schemas.sampling import SamplingFields
from ftllm.server.schemas.structured_output import ResponseFormat, StructuredOutputs
from ftllm.text.grammar import Grammar

_LEGACY = ("guided_json", "guided_regex", "guided_choice", "guided_grammar")


def requested_grammar(fields: SamplingFields) -> Grammar | None:
    """None where the text is free. Raises `RequestError` for a field that says nothing that can be
    kept, and when several say something."""
    found: dict[str, Grammar] = {}
    if fields.response_format is not None:
        wanted = _response_format(fields.response_format)
        if wanted is not None:
            found["response_format"] = wanted
    if fields.structured_outputs is not None:
        found["structured_outputs"] = _structured_outputs(fields.structured_outputs)
    found.update(_legacy(fields))
    if len(found) > 1:
        raise RequestError(
            f"{' and '.join(found)} exclude each other: one constraint holds for the whole answer."
            " Give one of them.",
            param=list(found)[1],
        )
    for param, grammar in found.items():
        return replace(grammar, param=param)
    return None


def _response_format(asked: ResponseFormat) -> Grammar | None:
    described = asked.json_schema
    if (described is not None) != (asked.type == "json_schema"):
        raise RequestError(
            "response_format has json_schema exactly when its type is 'json_schema', but its type"
            f" is {asked.type!r}.",
            param="response_format.json_schema",
            code="invalid_value" if described else "missing_required_parameter",
        )
    if described is not None:
        return _built("response_format", Grammar.json_schema, described.json_schema)
    if asked.type == "json_object":
        return Grammar.json_object()
    if asked.type == "structural_tag":
        tag = {"structures": asked.structures, "triggers": asked.triggers}
        return _built("response_format", Grammar.structural_tag, tag)
    return None


def _structured_outputs(asked: StructuredOutputs) -> Grammar:
    param = "structured_outputs"
    makers: Mapping[str, Callable[[], Grammar]] = {
        "json": lambda: _json_schema(asked, param),
        "json_object": lambda: Grammar.json_object(whitespace=_whitespace(asked)),
        "regex": lambda: _built(param, Grammar.regex, asked.regex or ""),
        "choice": lambda: _built(param, Grammar.choice, asked.choice or []),
        "grammar": lambda: _built(param, Grammar.lark, asked.grammar or ""),
        "structural_tag": lambda: _structural_tag(asked.structural_tag, param),
    }
    given = {
        "json": asked.json_ is not None,
        "json_object": bool(asked.json_object),
        "regex": asked.regex is not None,
        "choice": asked.choice is not None,
        "grammar": asked.grammar is not None,
        "structural_tag": asked.structural_tag is not None,
    }
    kinds = [name for name, is_given in given.items() if is_given]
    if len(kinds) != 1:
        raise RequestError(
            f"structured_outputs has {', '.join(kinds) or 'no constraint'}; it needs exactly one"
            f" of {', '.join(makers)}.",
            param=param,
        )
    return makers[kinds[0]]()


def _json_schema(asked: StructuredOutputs, param: str) -> Grammar:
    schema = asked.json_
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise RequestError(
                f"{param}.json is not valid JSON: {error}.", param=f"{param}.json"
            ) from error
    if asked.disable_additional_properties:
        schema = _closed(schema)
    if not isinstance(schema, dict | bool):
        raise RequestError(
            f"{param}.json must be a JSON Schema: an object, or its text.", param=f"{param}.json"
        )
    whitespace = _whitespace(asked)
    return _built(param, lambda value: Grammar.json_schema(value, whitespace=whitespace), schema)


def _whitespace(asked: StructuredOutputs) -> str | None:
    return "" if asked.disable_any_whitespace else asked.whitespace_pattern or None


def _closed(schema: object) -> object:
    """Objects that list their properties have no others, unless they say so."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _structural_tag(tag: object, param: str) -> Grammar:
    if not isinstance(tag, dict | str):
        raise RequestError(
            f"{param}.structural_tag must be an object, or its JSON text.",
            param=f"{param}.structural_tag",
        )
    return _built(param, Grammar.structural_tag, tag)


def _legacy(fields: SamplingFields) -> dict[str, Grammar]:
    """vLLM's older spellings."""
    found: dict[str, Grammar] = {}
    for name in _LEGACY:
        value = getattr(fields, name)
        if value is not None:
            kind = name.removeprefix("guided_")
            asked = StructuredOutputs.model_validate({kind: value})
            found[name] = _structured_outputs(asked)
    return found


def _built(
    param: str, make: Callable[[object], Grammar] | Callable[..., Grammar], value: object
) -> Grammar:
    """Errors name the request's field."""
    try:
        return make(value)
    except RequestError as error:
        raise RequestError(str(error), param=param, code=error.code) from error
