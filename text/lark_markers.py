"""Special tokens in the string literals of a Lark grammar.

A special token is not its text: a literal "[TOOL_CALLS]" in a rule describes those characters,
which the model would have to spell. Whoever writes a grammar of markers need not know which of them
the served vocabulary holds as special tokens; here they are put in, as llguidance's `<[id]>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

# What a rule can hold. Comments and regular expressions are passed over; so is what stands in
# the braces of %json, where a literal is part of a JSON text.
_PIECES = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"i?)"""
    r"""|(?P<regex>/(?![*/])(?:[^/\\\n]|\\.)+/[a-z]*)"""
    r"""|(?P<comment>//[^\n]*|\#[^\n]*)"""
    r"""|(?P<options>\[[^\]\n"]*(?:"(?:[^"\\\n]|\\.)*"[^\]\n"]*)+\](?=\s*:))"""
    r"""|(?P<block>%(?:json|regex|llguidance)\s*(?=\{))"""
    r"""|(?P<name>^[?!]?[A-Za-z_][\w-]*(?=[^\n:]*:))""",
    re.MULTILINE | re.VERBOSE,
)
# Candidates inside a literal: special tokens are spelled in brackets of some kind.
_MARKER = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
_JSON = json.JSONDecoder()


def mark_special_tokens(source: str, special_id: Callable[[str], int | None]) -> str:
    """`source` with the special tokens in its rules' literals as tokens. Those of terminals (upper
    case names) stay text, since a terminal cannot hold a token."""
    return "".join(_rewritten(source, special_id))


def _rewritten(source: str, special_id: Callable[[str], int | None]) -> Iterator[str]:
    place = 0
    in_rule = True
    while (match := _PIECES.search(source, place)) is not None:
        yield source[place : match.start()]
        place = match.end()
        text = match[0]
        if match.lastgroup == "name":
            in_rule = text.lstrip("?!").lstrip("_")[:1].islower()
        elif match.lastgroup == "string" and in_rule:
            text = _literal(text, special_id)
        elif match.lastgroup == "block":
            place = _block_end(source, place)
            text = source[match.start() : place]
        yield text
    yield source[place:]


def _block_end(source: str, start: int) -> int:
    """Where the JSON object that begins at `start` ends; `start` if it is none, which llguidance
    will tell the user better."""
    try:
        return _JSON.raw_decode(source, start)[1]
    except ValueError:
        return start


def _literal(literal: str, special_id: Callable[[str], int | None]) -> str:
    if literal.endswith("i"):
        return literal
    try:
        text: str = json.loads(literal)
    except ValueError:
        return literal
    parts: list[str] = []
    place = 0
    for match in _MARKER.finditer(text):
        token_id = special_id(match[0])
        if token_id is None:
            continue
        if match.start() > place:
            parts.append(json.dumps(text[place : match.start()], ensure_ascii=False))
        parts.append(f"<[{token_id}]>")
        place = match.end()
    if not parts:
        return literal
    if place < len(text):
        parts.append(json.dumps(text[place:], ensure_ascii=False))
    return parts[0] if len(parts) == 1 else f"({' '.join(parts)})"
