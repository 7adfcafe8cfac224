"""JSON Schemas of growing size, made up from a seed: what tools and formats of real requests hold.

The answers that they allow are short, so that a small model comes to their end.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date

from jsonschema import FormatChecker

Schema = dict[str, object]

_WORDS = (
    *("name", "title", "city", "price", "count", "status", "owner", "tags", "id", "note", "color"),
    *("größe", "名前", "значение", "prénom", "emoji_🙂", "two words", 'quo"te', "back\\slash"),
)
_TEXTS = (
    "red",
    "green",
    "été",
    "日本語",
    "да",
    "🙂👍",
    "a/b",
    'say "hi"',
    "tab\there",
    "",
    "x" * 12,
)
_PATTERNS = (
    *(r"^[A-Z]{2,3}-[0-9]{4}$", r"^#[0-9a-f]{6}$", r"^[a-zäöü]{1,8}$", r"^(yes|no|maybe)$"),
    *(r"^\+?[0-9]{3,9}$", r"^[あ-ん]{1,4}$"),
)
_FORMATS = ("date", "time", "date-time", "uuid", "ipv4", "email", "hostname")
_TIME = re.compile(
    r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)


def format_checker() -> FormatChecker:
    """Checks the formats above as draft 2020-12 means them: times by RFC 3339. The package's own
    checks of times and host names need further packages, or are those of draft 3."""
    checker = FormatChecker(["date", "uuid", "ipv4", "email"])
    checker.checks("time")(lambda value: not isinstance(value, str) or bool(_TIME.fullmatch(value)))
    checker.checks("hostname")(
        lambda value: not isinstance(value, str) or bool(_HOSTNAME.fullmatch(value))
    )
    checker.checks("date-time", raises=ValueError)(
        lambda value: not isinstance(value, str) or _is_date_time(value)
    )
    return checker


def _is_date_time(text: str) -> bool:
    day, mark, time = text[:10], text[10:11], text[11:]
    date.fromisoformat(day)
    return mark in ("T", "t", " ") and _TIME.fullmatch(time) is not None


def schemas(count: int, *, seed: int) -> list[Schema]:
    """Number i has from 1 leaf for the first to about 32 for the last."""
    return [_Maker(random.Random(f"{seed}/{i}")).root(1 + 32 * i // count) for i in range(count)]


class _Maker:
    """Makes one schema."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._definitions: Schema = {}

    def root(self, leaves: int) -> Schema:
        schema = self._object(leaves, depth=0)
        if self._definitions:
            schema["$defs"] = self._definitions
        return schema

    def _object(self, leaves: int, *, depth: int) -> Schema:
        names = self._draw.sample(_WORDS, min(len(_WORDS), max(1, self._draw.randint(1, leaves))))
        shares = self._split(leaves, len(names))
        properties = {
            name: self._node(share, depth=depth + 1)
            for name, share in zip(names, shares, strict=True)
        }
        required = [name for name in names if self._draw.random() < 0.7]
        schema: Schema = {"type": "object", "properties": properties, "required": required}
        if self._draw.random() < 0.85:
            schema["additionalProperties"] = False
        else:
            schema["additionalProperties"] = {"type": "integer", "minimum": 0, "maximum": 9}
        return schema

    def _node(self, leaves: int, *, depth: int) -> Schema:
        if leaves <= 1 or depth > 5:
            return self._leaf()
        kinds: list[Callable[[], Schema]] = [
            lambda: self._object(leaves, depth=depth),
            lambda: self._object(leaves, depth=depth),
            lambda: self._array(leaves, depth=depth),
            lambda: self._choice(leaves, depth=depth),
            lambda: self._reference(leaves, depth=depth),
        ]
        return self._draw.choice(kinds)()

    def _array(self, leaves: int, *, depth: int) -> Schema:
        if self._draw.random() < 0.3:
            shares = self._split(leaves, min(3, leaves))
            items = [self._node(share, depth=depth + 1) for share in shares]
            return {
                "type": "array",
                "prefixItems": items,
                "minItems": len(items),
                "maxItems": len(items),
                "items": False,
            }
        low = self._draw.randint(0, 2)
        return {
            "type": "array",
            "items": self._node(leaves // 2, depth=depth + 1),
            "minItems": low,
            "maxItems": low + self._draw.randint(0, 2),
        }

    def _choice(self, leaves: int, *, depth: int) -> Schema:
        if self._draw.random() < 0.5:
            return {"anyOf": [self._node(leaves, depth=depth + 1), {"type": "null"}]}
        options = []
        for number in range(2):  # told apart by a constant: oneOf is honoured then
            option = self._object(leaves // 2, depth=depth + 1)
            properties, required = option["properties"], option["required"]
            assert isinstance(properties, dict)
            assert isinstance(required, list)
            option["properties"] = {"kind": {"const": f"kind {number}"}, **properties}
            option["required"] = ["kind", *required]
            options.append(option)
        return {"oneOf": options}

    def _reference(self, leaves: int, *, depth: int) -> Schema:
        name = f"part {len(self._definitions)}/~"
        pointer = "#/$defs/" + name.replace("~", "~0").replace("/", "~1").replace(" ", "%20")
        self._definitions[name] = {}  # its place, before those that it refers to
        if self._draw.random() < 0.3:  # a list linked to itself
            self._definitions[name] = {
                "type": "object",
                "properties": {
                    "value": self._leaf(),
                    "next": {"anyOf": [{"type": "null"}, {"$ref": pointer}]},
                },
                "required": ["value", "next"],
                "additionalProperties": False,
            }
        else:
            self._definitions[name] = self._node(leaves - 1, depth=depth + 1)
        return {"$ref": pointer}

    def _leaf(self) -> Schema:
        draw = self._draw
        low = draw.randint(-50, 50)
        kinds: list[Callable[[], Schema]] = [
            lambda: {"type": "string", "maxLength": draw.randint(1, 12)},
            lambda: {"type": "string", "minLength": 2, "maxLength": 6, "title": "Ein Wort"},
            lambda: {"type": "string", "pattern": draw.choice(_PATTERNS)},
            lambda: {"type": "string", "format": draw.choice(_FORMATS)},
            lambda: {"enum": draw.sample(_TEXTS, draw.randint(2, 6))},
            lambda: {"enum": [1, "1", None, True, 2.5, "zwei"]},
            lambda: {"const": draw.choice(_TEXTS)},
            lambda: {"type": "integer", "minimum": low, "maximum": low + draw.randint(0, 300)},
            lambda: {"type": "integer", "minimum": 0, "maximum": 1000, "multipleOf": 5},
            lambda: {"type": "number", "exclusiveMinimum": 0, "maximum": 1.5},
            lambda: {"type": "boolean", "description": "so or so"},
            lambda: {"type": ["string", "null"], "maxLength": 5},
            lambda: {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
            lambda: {
                "type": "object",
                "patternProperties": {"^[a-z]{1,3}$": {"type": "boolean"}},
                "additionalProperties": False,
                "maxProperties": 1,
            },
        ]
        return draw.choice(kinds)()

    def _split(self, total: int, parts: int) -> list[int]:
        """`total` in `parts` shares of at least 1, or a little more together."""
        shares = [1] * parts
        for _ in range(total - parts):
            shares[self._draw.randrange(parts)] += 1
        return shares
