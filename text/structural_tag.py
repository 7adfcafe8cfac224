"""Structural tags: free text in which certain markers start a part that has to match a grammar.

vLLM's older form is {"structures": [{"begin", "schema", "end"}, …], "triggers": [text, …]}. Where
the model writes a trigger, one of the structures whose `begin` starts with it has to follow. The
newer form has a `format`: structural_format.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ftllm.errors import RequestError
from ftllm.text.schema_limits import check_schema
from ftllm.text.structural_format import SpecialId, StructuralFormat

MAX_STRUCTURES = 256
_KEYS = frozenset({"type", "structures", "triggers"})
_NEWER_KEYS = frozenset({"type", "format"})
_STRUCTURE_KEYS = frozenset({"begin", "schema", "end"})


def structural_tag_sources(
    source: str, *, json_options: Mapping[str, object], special_id: SpecialId
) -> dict[str, str]:
    """Lark's source of what follows each trigger; under "" of what begins the answer. Raises
    `RequestError` naming what is wrong."""
    try:
        tag = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"it is not valid JSON: {error}") from error
    if not isinstance(tag, dict):
        raise _refusal("it must be an object")
    newer = "format" in tag
    _known_keys(tag, _NEWER_KEYS if newer else _KEYS, "")
    if tag.get("type") not in (None, "structural_tag"):
        raise _refusal(f"type is {str(tag['type'])[:50]!r}, not 'structural_tag'")
    if newer:
        return StructuralFormat(json_options, special_id).sources(tag["format"])
    triggers = _texts(tag.get("triggers"), "triggers")
    structures = tag.get("structures")
    if not isinstance(structures, list) or not 1 <= len(structures) <= MAX_STRUCTURES:
        raise _refusal(f"structures must be an array of 1 to {MAX_STRUCTURES} objects")
    branches: dict[str, list[str]] = {trigger: [] for trigger in triggers}
    for index, structure in enumerate(structures):
        trigger, branch = _branch(structure, f"structures[{index}]", triggers, json_options)
        branches[trigger].append(branch)
    idle = next((trigger for trigger, found in branches.items() if not found), None)
    if idle is not None:
        raise _refusal(f"no structure begins with the trigger {idle[:50]!r}")
    return {trigger: "start: " + "\n  | ".join(found) for trigger, found in branches.items()}


def _branch(
    structure: object, place: str, triggers: list[str], json_options: Mapping[str, object]
) -> tuple[str, str]:
    """(its trigger, the rest of it in Lark)."""
    if not isinstance(structure, dict):
        raise _refusal(f"{place} must be an object")
    _known_keys(structure, _STRUCTURE_KEYS, f"{place}.")
    begin, end, schema = structure.get("begin"), structure.get("end"), structure.get("schema")
    if not isinstance(begin, str) or not isinstance(end, str):
        raise _refusal(f"{place} needs the texts 'begin' and 'end'")
    if schema is True or schema is None:
        schema = {}
    if not isinstance(schema, dict):
        raise _refusal(f"{place}.schema must be a JSON Schema")
    check_schema(schema)
    trigger = max((text for text in triggers if begin.startswith(text)), key=len, default=None)
    if trigger is None:
        raise _refusal(f"{place}.begin starts with none of the triggers")
    inner = {key: value for key, value in schema.items() if key != "x-guidance"}
    inner = {"x-guidance": dict(json_options), **inner}
    rest = begin[len(trigger) :]
    parts = [_literal(rest), f"%json {json.dumps(inner)}", _literal(end)]
    return trigger, " ".join(part for part in parts if part)


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def _texts(value: object, name: str) -> list[str]:
    if (
        not isinstance(value, list)
        or not 1 <= len(value) <= MAX_STRUCTURES
        or not all(isinstance(text, str) and text for text in value)
    ):
        raise _refusal(f"{name} must be an array of 1 to {MAX_STRUCTURES} texts, none empty")
    return list(dict.fromkeys(value))


def _known_keys(value: Mapping[str, object], known: frozenset[str], prefix: str) -> None:
    for key in value:
        if key not in known:
            raise _refusal(f"{prefix}{key[:50]} is not known; known are {', '.join(sorted(known))}")


def _refusal(reason: str) -> RequestError:
    return RequestError(f"structural_tag: {reason}.", param="structural_tag")
