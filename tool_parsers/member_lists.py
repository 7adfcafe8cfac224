"""Grammars of arguments that stand one behind the other with a separator, each with its key."""

from __future__ import annotations

from collections.abc import Sequence

from ftllm.tool_parsers.lark_rules import LarkRules, literal, sequence
from ftllm.tool_parsers.schema_parts import object_members, shared_definitions
from ftllm.tool_parsers.tool_schemas import Schema


def separated(rules: LarkRules, items: Sequence[tuple[str, bool]], separator: str) -> str:
    """The items in order, each (expression, whether it is required), with `separator` between."""
    behind_one = ""  # what may come behind an item
    first = ""  # what may come where there was none yet
    for expression, required in reversed(items):
        begins = sequence(expression, behind_one)
        follows = sequence(literal(separator), expression)
        if required:
            first = begins
            behind_one = sequence(follows, behind_one)
        else:
            first = f"({begins} | {first})" if first else f"({begins})?"
            behind_one = sequence(f"({follows})?", behind_one)
        if behind_one:
            behind_one = rules.add(behind_one)
        first = rules.add(first)
    return first


def python_call(rules: LarkRules, name: str, parameters: Schema) -> str:
    """`f(key=value, …)`; JSON values are Python literals but for three constants, which are known
    in both spellings."""
    shared = shared_definitions(parameters)
    items = [
        (sequence(literal(f"{each.key}="), rules.json({**shared, **each.schema})), each.required)
        for each in object_members(parameters, parameters)
    ]
    return sequence(literal(f"{name}("), separated(rules, items, ", "), literal(")"))
