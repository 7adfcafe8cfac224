"""The grammar of a string that stands in a call as it is, up to a closing marker.

Nothing is escaped, so the string cannot hold the marker. Where the schema asks for a length or a
pattern, that becomes part of the regular expression.
"""

from __future__ import annotations

import re

from ftllm.errors import RequestError
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.tool_schemas import Schema

_ANY = "(?s:.*)"
_SIGNS = re.compile(r"[\\.+*?()|\[\]{}^$/\-&~#@]|\n")
_DATE = r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
_ZONE = r"(?:Z|[+\-](?:0[0-9]|1[0-2]):[0-5][0-9])"
_TIME = rf"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?{_ZONE}"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,8}}"
# Of the values that a format allows, those that every validator takes.
_FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": r"P(?:[0-9]{1,4}D)?T[0-9]{1,4}H(?:[0-9]{1,4}M)?",
    "email": rf"[A-Za-z0-9._+\-]*[A-Za-z0-9]\@{_LABEL}(?:\.{_LABEL}){{1,8}}",
    "hostname": _HOST,
    "ipv4": rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    "uuid": "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "uri": rf"https?:\/\/{_HOST}(?:\/[A-Za-z0-9._~\-]*){{0,16}}",
}
_ANCHOR = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|(?P<bar>\|)|(?P<anchor>[\^$])|(?P<bracket>[()])")
_SLASH = re.compile(r"\\.|/|\n", re.DOTALL)


def raw_text(
    rules: LarkRules,
    schema: Schema,
    close: str,
    *,
    frame: str = "",
    without: tuple[str, ...] = (),
    unlike: tuple[str, ...] = (),
) -> str:
    """A string of `schema`, then `frame` and `close`.

    The string holds none of `without`, and none of the regular expressions `unlike` match it.
    The marker `close` may be a special token, or characters: there is a way for either.
    """
    ends = {"token": "", "characters": regex(close)}
    terminals = {}
    for way, end in ends.items():
        tail = regex(frame) + end
        parts = [f"/{body}{tail}/" for body in _bodies(schema)]
        parts.append(f"~/{_ANY}{regex(close)}(?s:.{'+' if end else '*'})/")
        parts += [f"~/{_ANY}{regex(text)}{_ANY}/" for text in without]
        parts += [f"~/{pattern}{tail}/" for pattern in unlike]
        terminals[way] = rules.terminal(" & ".join(parts))
    with_token = sequence(terminals["token"], literal(close))
    return choice(with_token, terminals["characters"])


def regex(text: str) -> str:
    """A regular expression that matches `text` alone."""
    return _SIGNS.sub(lambda match: "\\n" if match[0] == "\n" else f"\\{match[0]}", text)


def _bodies(schema: Schema) -> list[str]:
    """Regular expressions that all have to match the string."""
    low, high = schema.get("minLength"), schema.get("maxLength")
    bodies = [_ANY]
    if isinstance(low, int) or isinstance(high, int):
        least = low if isinstance(low, int) else 0
        most = high if isinstance(high, int) else ""
        bodies = [f"(?s:.{{{least},{most}}})"]
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        bodies.append(_whole(pattern))
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        bodies.append(known)
    return bodies


def _whole(pattern: str) -> str:
    """A JSON Schema's `pattern`, which searches, as an expression that matches the whole string."""
    branches, start, depth = [], 0, 0
    anchors: list[int] = []
    for match in _ANCHOR.finditer(pattern):
        if match["bracket"]:
            depth += 1 if match[0] == "(" else -1
        elif match["bar"] and depth == 0:
            branches.append((start, match.start()))
            start = match.end()
        elif match["anchor"]:
            anchors.append(match.start())
    branches.append((start, len(pattern)))
    edges = {first for first, _ in branches} | {last - 1 for _, last in branches}
    if not edges.issuperset(anchors):
        raise RequestError(
            f"The pattern {pattern[:100]!r} has an anchor inside, which cannot be held to in the"
            " arguments of calls; put ^ and $ at its ends.",
            param="tools",
        )
    parts = []
    for first, last in branches:
        head = first in anchors and pattern[first] == "^"
        tail = last - 1 in anchors and pattern[last - 1] == "$" and last - 1 > first - 1 + head
        inner = pattern[first + head : last - tail]
        parts.append(f"{'' if head else _ANY}(?:{inner}){'' if tail else _ANY}")
    return _SLASH.sub(_escaped_slash, f"(?:{'|'.join(parts)})")


def _escaped_slash(match: re.Match[str]) -> str:
    return {"/": r"\/", "\n": r"\n"}.get(match[0], match[0])
