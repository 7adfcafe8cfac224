"""Writes grammars in llguidance's dialect of Lark.

A marker stands as text in a literal of a rule: whoever compiles the grammar can put the token
there, should the vocabulary hold the marker as a special one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

_JSON_OPTIONS: Mapping[str, object] = {
    # As templates and json.dumps write JSON; free white space is where small models get lost.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # What cannot be guaranteed is an error.
    "lenient": False,
    "coerce_one_of": False,
}


class LarkRules:
    """Collects the rules of one grammar."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._count = 0

    def add(self, expression: str) -> str:
        """A new rule; its name."""
        self._count += 1
        name = f"rule_{self._count}"
        self._lines.append(f"{name}: {expression}")
        return name

    def recursive(self, define: Callable[[str], str]) -> str:
        """A new rule whose expression, which `define` makes, may hold its own name."""
        self._count += 1
        name = f"rule_{self._count}"
        self._lines.append(f"{name}: {define(name)}")
        return name

    def terminal(self, expression: str) -> str:
        """A new terminal, of regular expressions; its name."""
        self._count += 1
        name = f"TEXT_{self._count}"
        self._lines.append(f"{name}: {expression}")
        return name

    def json(self, schema: Mapping[str, object]) -> str:
        """JSON that `schema` allows."""
        schema = {**schema, "x-guidance": _JSON_OPTIONS}
        return self.add(f"%json {json.dumps(schema, ensure_ascii=False)}")

    def grammar(self, start: str) -> str:
        """The whole, which is what `start` describes."""
        return "\n".join([f"start: {start}", *self._lines, ""])


def literal(text: str) -> str:
    """`text` in a rule; nothing at all if it is empty."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def sequence(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def choice(*options: str) -> str:
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"
