"""Calls written as tags: a tag for the call, and one for each argument with its bare value inside.

A value is no JSON: the schema of the tool says what it becomes. A closing tag ends a value only
where the mark-up goes on behind it, so that a value may hold the text of a tag.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.json_strings import JsonStrings
from ftllm.tool_parsers.json_value import escaped, json_value
from ftllm.tool_parsers.schema_types import (
    STRING,
    Types,
    Untyped,
    property_names,
    property_types,
    typed_json,
)
from ftllm.tool_parsers.source import MAX_HEADER, Parse, Source, markers_of
from ftllm.tool_parsers.tool_schemas import Schema

_ATTRIBUTE = re.compile(
    r"""\s*(?:name\s*=\s*)?(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s"'>/]+))"""
)
_STRING_FLAG = re.compile(r"""\bstring\s*=\s*["']?(true|false)""")
_NAME = re.compile(r"[\w.:/-]+")
_CONTAINERS: Types = frozenset({"object", "array"})
_OBJECT: Types = frozenset({"object"})
_STRING_OR_NULL = frozenset({"string", "null"})
_LONGER_THAN_NULL = 5  # visible characters: the value is neither null nor None


@dataclass(frozen=True, slots=True)
class Tag:
    """`start` name `end` … `close`; the name may be an attribute, `name="f"`."""

    start: str
    close: str
    end: str = ">"


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a model writes what a parser does not look at, for grammars."""

    newline: str = "\n"  # behind the header of a call and behind an argument
    attributes: bool = False  # names stand as `name="f"`
    string_flag: bool = False  # and arguments say `string="true"` or "false"
    after_call: str = ""


@dataclass(frozen=True, slots=True)
class TaggedGrammar:
    """How a dialect spells tagged calls.

    A `call` tag without a start is a bare name, which ends where an argument or the call does.
    `argument` holds the key in its header; with `value_start` the key is an element of its own
    and the value comes behind that. `skipped` are texts around calls that carry nothing.
    """

    call: Tag
    argument: Tag
    close: str = ""  # of the block around the calls; "" = there is none
    value_start: str = ""
    skipped: tuple[str, ...] = ()
    framed: bool = False  # values stand on lines of their own: one newline on either side
    close_may_miss: bool = False  # of an argument, in front of the next one
    json_body: bool = False  # a JSON object may stand in the place of the arguments
    wrappers: tuple[str, ...] = ()  # arguments that may, by mistake, hold all others as an object
    untyped: Untyped = "string"
    spelling: Spelling = Spelling()

    def parse(self, source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        """A `ParseCalls`; the opening is that of a block, or the start of a call."""
        return (yield from _TaggedBlock(self, source, calls).parse(marker))


class _TaggedBlock:
    """Calls up to the end of their block."""

    def __init__(self, grammar: TaggedGrammar, source: Source, calls: CallWriter) -> None:
        self.grammar = grammar
        self.source = source
        self.calls = calls
        self.name = ""
        self.parameters: Schema = {}
        self.keys: set[str] = set()
        ends = [text for text in (grammar.call.close, grammar.close) if text]
        self.ends = tuple(ends)
        self.followers = (grammar.argument.start, *ends)
        closers = {grammar.argument.close}
        if grammar.close_may_miss:
            closers |= {f"\n{text}" for text in self.followers}
        self.closers = markers_of(*sorted(closers))

    def parse(self, marker: str) -> Parse[bool]:
        grammar, source = self.grammar, self.source
        start = grammar.call.start
        if start and marker == start and not (yield from self._call(known=True)):
            return False
        found = bool(start) and marker == start
        while not found or grammar.close:
            yield from source.space(None)
            if grammar.skipped and (yield from source.literal(*grammar.skipped)):
                continue
            if grammar.close and (yield from source.closer(grammar.close)):
                return found
            if start and (not (yield from source.closer(start)) or source.exhausted):
                return found
            if found:
                source.mark(source.pos - len(start))
            if not (yield from self._call(known=False)):
                return False
            found = True
        return True

    def _call(self, *, known: bool) -> Parse[bool]:
        """A call behind the start of its tag; False if it is none. `known`: only of a tool."""
        grammar, source = self.grammar, self.source
        closed = False
        if grammar.call.start:
            header = yield from source.header(grammar.call.end)
            if header is None:
                self._runs_out()
                return False
            closed = header.rstrip().endswith("/")
            name = _attribute(header)
        else:
            name = yield from source.run(_NAME)
        if not name or not _NAME.fullmatch(name) or (known and name not in self.calls.tools):
            return False
        body = ("{",) if grammar.json_body else ()
        if not closed and not (yield from source.is_followed(0, (*self.followers, *body))):
            return False
        if not grammar.call.start and source.exhausted and name not in self.calls.tools:
            return False
        self.name = name
        self.parameters = self.calls.tools.parameters(name)
        self.keys = set()
        self.calls.open(name)
        if closed or (yield from self._arguments()) or not source.cut:
            self._close()
        return True

    def _close(self) -> None:
        if self.keys:
            self.calls.write("}")
        self.calls.close()

    def _arguments(self) -> Parse[bool]:
        """Arguments up to the end of the call; False if the text was cut off before it."""
        grammar, source = self.grammar, self.source
        while True:
            character = yield from source.next_visible()
            if grammar.json_body and character == "{" and not self.keys:
                if not (yield from json_value(source, self.calls.write)):
                    return False
                continue
            found = yield from source.closer(grammar.argument.start, grammar.call.close)
            if not found:
                return not source.exhausted
            if source.exhausted or found == grammar.call.close:
                return found == grammar.call.close
            header = yield from source.header(grammar.argument.end)
            if header is not None and grammar.value_start:
                yield from source.space(None)
                if not (yield from source.closer(grammar.value_start)):
                    header = None
            if header is None:
                return not self._runs_out()
            if not (yield from self._value(header)):
                return False

    def _runs_out(self) -> bool:
        """The text ends inside a tag, which is then dropped."""
        source = self.source
        if source.ended and len(source.text) - source.pos < MAX_HEADER:
            source.pos = len(source.text)
        return source.exhausted

    def _value(self, header: str) -> Parse[bool]:
        """The value whose tag has `header`; False if the text ended inside it."""
        grammar = self.grammar
        key = header.strip() if grammar.value_start else _attribute(header)
        if self._is_wrapper(key):
            return (yield from self._wrapped())
        flag = None if grammar.value_start else _STRING_FLAG.search(header)
        untyped = grammar.untyped
        if flag is not None:
            types: Types = STRING if flag[1] == "true" else frozenset()
            untyped = "json"
        else:
            types = property_types(self.parameters, key)
            if not types and untyped == "string":
                types = STRING
        value = _Value(self._begin(key), self.calls.write, types, untyped)
        write = _Framed(value.feed).feed if grammar.framed else value.feed
        self.keys.add(key)
        strings = JsonStrings() if types & _CONTAINERS or not types else None
        whole = yield from self._until_closed(write, strings)
        if whole or not self.source.cut:
            value.end()
        return whole

    def _is_wrapper(self, key: str) -> bool:
        if key not in self.grammar.wrappers or self.keys:
            return False
        return key not in property_names(self.parameters)

    def _wrapped(self) -> Parse[bool]:
        """The value of a wrapper, which is the object of the arguments."""
        parts: list[str] = []
        whole = yield from self._until_closed(parts.append, JsonStrings())
        if not whole and self.source.cut:
            return False
        value = typed_json("".join(parts), _OBJECT, "json")
        if value.startswith("{"):
            self.keys.update(json.loads(value))
            self.calls.write(value[:-1] if self.keys else "")
        return whole

    def _begin(self, key: str) -> str:
        """What comes in the arguments before the value of `key`."""
        return f'{", " if self.keys else "{"}"{escaped(key)}": '

    def _until_closed(
        self, write: Callable[[str], None], strings: JsonStrings | None
    ) -> Parse[bool]:
        """The text of a value up to the end of its tag, which may be missing at the end.

        Inside one of `strings` a tag counts only at a line's end or beginning: JSON has no newlines
        in strings, so it is the JSON that is broken.
        """
        source = self.source
        last = ""
        while True:
            text, pos = source.text, source.pos
            start, marker = self.closers.find(text, pos)
            if start > pos:
                last = text[start - 1]
                write(text[pos:start])
                if strings is not None:
                    strings.feed(text[pos:start])
                source.pos = start
            if marker:
                inside = strings is not None and strings.inside and "\n" not in (last, marker[0])
                if (yield from self._is_end(marker, in_string=inside)):
                    return True
                last = marker[0]
                write(last)
                if strings is not None:
                    strings.feed(last)
                source.pos += 1
            elif source.ended:
                source.pos = len(source.text)
                return False
            else:
                yield

    def _is_end(self, marker: str, *, in_string: bool) -> Parse[bool]:
        """Whether the marker at the cursor ends the value; then move behind the value."""
        source, grammar = self.source, self.grammar
        if marker == grammar.argument.close:
            if not (yield from source.is_followed(len(marker), self.followers)):
                return False
            end = source.pos + len(marker)
            if in_string and source.text[end : end + 1] not in ("", "\n"):
                return False
            source.pos = end
            return True
        if marker == f"\n{grammar.argument.start}":
            header = yield from source.header_ahead(len(marker), grammar.argument.end)
            key = _attribute(header) if header is not None else ""
            if key in self.keys or key not in property_names(self.parameters):
                return False
        elif not (yield from source.is_followed(len(marker), self._after_call())):
            return False
        source.pos += 1
        return True

    def _after_call(self) -> tuple[str, ...]:
        grammar = self.grammar
        return tuple(text for text in (grammar.close, grammar.call.start) if text)


class _Value:
    """Turns the text of one value into JSON; a string is passed on as it comes."""

    def __init__(
        self, begin: str, write: Callable[[str], None], types: Types, untyped: Untyped
    ) -> None:
        self._begin = begin
        self._write = write
        self._types = types
        self._untyped = untyped
        self._streams = types == STRING
        self._held: list[str] = []
        if self._streams:
            write(f'{begin}"')

    def feed(self, text: str) -> None:
        if self._streams:
            self._write(escaped(text))
            return
        self._held.append(text)
        if self._types == _STRING_OR_NULL:
            text = "".join(self._held)
            self._held = [text]
            if len(text.strip()) >= _LONGER_THAN_NULL:
                self._streams = True
                self._write(f'{self._begin}"{escaped(text)}')

    def end(self) -> None:
        if self._streams:
            self._write('"')
        else:
            value = typed_json("".join(self._held), self._types, self._untyped)
            self._write(self._begin + value)


class _Framed:
    """Passes text on without the newline at its beginning and the one at its end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._first = True
        self._held = ""

    def feed(self, text: str) -> None:
        if self._first:
            self._first = False
            text = text.removeprefix("\n")
        text = self._held + text
        self._held = "\n" if text.endswith("\n") else ""
        text = text.removesuffix("\n")
        if text:
            self._write(text)


def _attribute(header: str) -> str:
    """The name in a header: of an attribute, or all of it."""
    match = _ATTRIBUTE.match(header)
    if match is None:
        return ""
    return match["double"] or match["single"] or match["bare"] or ""
