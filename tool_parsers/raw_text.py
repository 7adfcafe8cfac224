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
_RANGE = re.compile(r"([^\\])-([^\\])")
_MAY_BE_ANYTHING = re.compile(r"\[\^|(?<!\\)\.|\\[^dws./@\-+\\]")
_ANCHOR = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|(?P<bar>\|)|(?P<anchor>[\^$])|(?P<bracket>[()])")
_SLASH = re.compile(r"\\.|/|\n", re.DOTALL)


def raw_text(
    rules: LarkRules,
    schema: Schema,
    close: str,
    *,
    frame: str = "",
    line_starts: tuple[str, ...] = (),
    unlike: tuple[str, ...] = (),
) -> str:
    """A string of `schema`, then `frame` and `close`.

    No line of the string begins with one of `line_starts`, and none of the regular expressions
    `unlike` match it.
    The marker `close` may be a special token, or characters: there is a way for either.
    """
    by_token = _terminal(rules, schema, frame, "", close, line_starts, unlike)
    by_characters = _terminal(rules, schema, frame, close, close, line_starts, unlike)
    return choice(sequence(by_token, literal(close)), by_characters)


def _terminal(
    rules: LarkRules,
    schema: Schema,
    frame: str,
    end: str,
    close: str,
    line_starts: tuple[str, ...],
    unlike: tuple[str, ...],
) -> str:
    """The string, `frame` and `end`, which is `close` or nothing."""
    tail = regex(frame + end)
    bodies = _bodies(schema)
    refused = [f"{pattern}{tail}" for pattern in unlike]
    if not any(_is_free_of(body, close[0]) for body in bodies):
        refused.append(f"{_ANY}{regex(close)}(?s:.{'+' if end else '*'})")
        if line_starts:
            refused.append(f"(?:{_ANY}\\n)?(?:{'|'.join(map(regex, line_starts))}){_ANY}")
    parts = [f"/{body}{tail}/" for body in bodies]
    if refused:
        parts.append(f"~/(?:{'|'.join(refused)})/")
    return rules.terminal(" & ".join(parts))


def _is_free_of(body: str, sign: str) -> bool:
    """No string that `body` matches holds `sign`, as far as can be seen from its spelling."""
    classes = _RANGE.findall(body)
    return (
        sign not in body
        and not _MAY_BE_ANYTHING.search(body)
        and not any(first <= sign <= last for first, last in classes)
    )


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
