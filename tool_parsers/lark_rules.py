"""Writes grammars in llguidance's dialect of Lark.

A marker stands as text in a literal of a rule, never in a terminal: whoever compiles the grammar
can put the token there, should the vocabulary hold the marker as a special one. Where a marker ends
free text, the rule itself differs between the two, so the special markers have to be known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence

_MARKER = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
ANY_TEXT = "/(?s:.*)/"
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
    """Collects the rules of one grammar. `special`: markers that are special tokens."""

    def __init__(self, special: Container[str] = ()) -> None:
        self._special = special
        self._lines: list[str] = []
        self._count = 0

    def add(self, expression: str, *, options: str = "") -> str:
        """A new rule; its name."""
        self._count += 1
        name = f"rule_{self._count}"
        self._lines.append(f"{name}{options}: {expression}")
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

    def text_until(
        self, end: str, patterns: Sequence[str] = (), *, without: Sequence[str] = ()
    ) -> str:
        """Text that matches all of `patterns`, up to and with `end`; it holds neither that nor what
        it has to be `without`."""
        texts = (_pattern(each) for each in (end.strip(), *without))
        excluded = f"~/(?s:.*)({'|'.join(texts)})(?s:.*)/"
        text = self.terminal(" & ".join([*patterns, ANY_TEXT, excluded]))
        marker = _MARKER.match(end)
        if marker is not None and marker[0] in self._special:
            return sequence(text, literal(end))
        return self.add(text, options=f"[suffix={literal(end)}]")

    def grammar(self, start: str) -> str:
        """The whole, which is what `start` describes."""
        return "\n".join([f"start: {start}", *self._lines, ""])


def _pattern(text: str) -> str:
    """A regular expression, in Lark, of just this text."""
    return re.escape(text).replace("/", r"\/").replace("\\\n", r"\n")


def literal(text: str) -> str:
    """`text` in a rule; nothing at all if it is empty."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def sequence(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def choice(*options: str) -> str:
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"
