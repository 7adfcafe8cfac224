"""Writes grammars of calls in Lark, in the dialect that llguidance reads.

A string literal in a rule may hold a special token of the vocabulary; the compiler puts the token
in its place. A terminal cannot hold one: it describes characters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ftllm.tool_parsers.tool_schemas import Schema

_REGEX_SIGNS = frozenset(r"\.+*?()|[]{}^$/-&~#@")
# Spelled as the templates of models spell JSON, so that there is no choice to go astray in.
_JSON_SPELLING = {
    "item_separator": ", ",
    "key_separator": ": ",
    "whitespace_flexible": False,
    "lenient": False,
}


class LarkRules:
    """Rules and terminals as they are written; equal ones are shared."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # by definition
        self._lines: list[str] = []

    def rule(self, expression: str) -> str:
        """The name of a rule for `expression`."""
        return self._define("r", expression)

    def terminal(self, expression: str) -> str:
        """The name of a terminal for `expression`, made of regular expressions."""
        return self._define("T", expression)

    def reserve(self) -> str:
        """A name for a rule that refers to itself; `define` it afterwards."""
        name = f"r{len(self._names)}"
        self._names[f"reserved {name}"] = name
        return name

    def define(self, name: str, expression: str) -> None:
        self._lines.append(f"{name}: {expression}")

    def grammar(self, start: str) -> str:
        """The whole grammar, of what `start` describes."""
        return "\n".join([f"start: {start}", *self._lines]) + "\n"

    def _define(self, letter: str, expression: str) -> str:
        key = f"{letter}: {expression}"
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"{letter}{len(self._names)}"
            self.define(name, expression)
        return name


def literal(text: str) -> str:
    """`text` itself, in a rule."""
    return json.dumps(text, ensure_ascii=False)


def json_value(schema: Schema, root: Schema) -> str:
    """JSON that `schema` allows; `root` holds what its references name."""
    shared = {word: root[word] for word in ("$defs", "definitions") if word in root}
    return f"%json {json.dumps({**schema, **shared, 'x-guidance': _JSON_SPELLING})}"


def sequence(*parts: str) -> str:
    """Parts of a rule, one behind the other; empty ones are left out."""
    return " ".join(part for part in parts if part and part != '""') or '""'


def choice(parts: list[str]) -> str:
    """One of `parts`."""
    return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"


def regex(text: str) -> str:
    """A regular expression that matches `text` alone."""
    return "".join(
        "\\n" if sign == "\n" else f"\\{sign}" if sign in _REGEX_SIGNS else sign for sign in text
    )


def plain_schema(value: object) -> Schema:
    """A schema in the place of `value`; true, and whatever is none, allows everything."""
    return value if isinstance(value, Mapping) else {}
