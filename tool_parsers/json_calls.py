"""Calls written as JSON: an object with a name and arguments, or an array of such objects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.json_value import (
    JsonPassage,
    decoded_string,
    json_string,
    json_text,
    json_value,
)
from ftllm.tool_parsers.source import Parse, Source

_NAME_KEYS = frozenset({"name", "function"})
_ARGUMENT_KEYS = frozenset({"arguments", "parameters"})
_OTHER_KEYS = frozenset({"id", "type"})
_NO_ARGUMENTS = frozenset({"", "null", "[]", "{}"})
_ENOUGH = 16  # characters, to tell a text from those above
_STRING_RUN = re.compile(r"(?:[^\"\\]|\\(?:[^u]|u[0-9a-fA-F]{4}))*")
_HIGH_SURROGATE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")  # its other half follows
_SURPLUS = re.compile(r"[}\]]+")


@dataclass(frozen=True, slots=True)
class CallShape:
    """What tells a call from other JSON.

    `strict` is for dialects without a marker: the name is one of the request's tools, the arguments
    are there, and no other keys than those of calls. One that is not `whole` at the text's end is
    none where that is asked for. `native_ids` takes the id from the object.
    """

    strict: bool = False
    whole: bool = False
    native_ids: bool = False
    argument_keys: frozenset[str] = _ARGUMENT_KEYS


MARKED = CallShape()
UNMARKED = CallShape(strict=True)


class _CallObject:
    """The object as far as it has been read."""

    def __init__(self, source: Source, calls: CallWriter, shape: CallShape) -> None:
        self.source = source
        self.calls = calls
        self.shape = shape
        self.name: str | None = None
        self.id: str | None = None
        self.held: list[str] | None = None  # arguments that came before the name
        self.opened = False

    def parse(self) -> Parse[bool]:
        source = self.source
        depth = 0
        while True:
            character = yield from source.next_visible()
            if character == "{" and depth == 0:
                depth = 1
                source.pos += 1
            elif character == "}":
                source.pos += 1
                depth -= 1
                if depth == 0:
                    break
            elif character == ",":
                source.pos += 1
            elif character in ('"', "'"):
                key = yield from json_string(source)
                if key is None or (yield from source.next_visible()) != ":":
                    break
                source.pos += 1
                character = yield from source.next_visible()
                if key == "function" and character == "{":  # OpenAI's own nesting
                    depth += 1
                    source.pos += 1
                elif not (yield from self._value(key, character)):
                    break
            else:
                break
        return self._end(whole=depth == 0)

    def _value(self, key: str, character: str) -> Parse[bool]:
        """Read the value of `key`; False when this is no call, or the text ends."""
        if key in _NAME_KEYS and self.name is None:
            self.name = (yield from json_string(self.source)) if character in ('"', "'") else None
            if not self.name or (self.shape.strict and self.name not in self.calls.tools):
                self.name = None
                return False
            if self.held is not None:
                held = "".join(self.held)
                self._open()
                self.calls.write(held)
        elif key in self.shape.argument_keys and self.held is None and not self.opened:
            return (yield from self._arguments(character))
        elif self.shape.strict and key not in _OTHER_KEYS:
            return False
        else:
            text = yield from json_text(self.source)
            if key == "id" and self.shape.native_ids and text is not None:
                self.id = decoded_string(text)
            return text is not None
        return True

    def _arguments(self, character: str) -> Parse[bool]:
        if character == "{":
            self._take_arguments()
            return (yield from json_value(self.source, self._write))
        if character in ('"', "'"):
            return (yield from self._encoded_arguments(character))
        text = yield from json_text(self.source)
        if text not in _NO_ARGUMENTS:
            return False
        self._take_arguments()
        return True

    def _encoded_arguments(self, quote: str) -> Parse[bool]:
        """Arguments as a string that holds JSON."""
        inner = _EncodedObject(self._take_arguments, self._write)
        whole = yield from json_value(self.source, inner.feed)
        return inner.end(whole=whole, cut=self.source.cut)

    def _take_arguments(self) -> None:
        if self.name is None:
            self.held = []
        else:
            self._open()

    def _write(self, text: str) -> None:
        if self.held is None:
            self.calls.write(text)
        else:
            self.held.append(text)

    def _open(self) -> None:
        assert self.name is not None
        self.calls.open(self.name, self.id)
        self.opened = True
        self.held = None

    def _end(self, *, whole: bool) -> bool:
        if self.shape.whole and not whole:
            return False
        if not self.opened:
            at_end = whole or self.source.exhausted
            if self.name is None or not at_end or self.shape.strict:
                return False
            self._open()
        if whole or not self.source.cut:
            self.calls.close()
        return True


class _EncodedObject:
    """An object written as JSON text inside a JSON string, taken out of it once."""

    def __init__(self, on_start: Callable[[], None], write: Callable[[str], None]) -> None:
        self._on_start = on_start
        self._passage = JsonPassage(write)
        self._raw: str | None = None  # text of the string that cannot be decoded yet
        self._text = ""  # decoded text that cannot be passed on yet
        self._started = False

    def feed(self, raw: str) -> None:
        """The next piece of the string with its quotes, as JSON text; escapes are whole."""
        raw = raw.removeprefix('"') if self._raw is None else self._raw + raw
        match = _STRING_RUN.match(raw)
        assert match is not None
        run = match[0]
        surrogate = _HIGH_SURROGATE.search(run)
        if surrogate is not None and len(run) == len(raw):
            run = run[: surrogate.start()]
        self._raw = raw[len(run) :]
        text = self._text + json.loads(f'"{run}"', strict=False)
        if not self._started:
            text = text.lstrip()
            self._started = text.startswith("{")
            if self._started:
                self._on_start()
            else:
                text = text[:_ENOUGH]
        if self._started:
            text = "" if self._passage.done else text[self._passage.feed(text, 0) :]
        self._text = text

    def end(self, *, whole: bool, cut: bool) -> bool:
        """The string is over, `whole` or not; whether it held arguments."""
        if not self._started:
            if not whole or self._text.strip() not in _NO_ARGUMENTS:
                return False
            self._on_start()
        elif not self._passage.done:
            if whole or not cut:
                self._passage.close()
            else:
                self._passage.give_up()
        return whole


def json_call(source: Source, calls: CallWriter, shape: CallShape = MARKED) -> Parse[bool]:
    """The call object whose brace stands at the cursor."""
    return (yield from _CallObject(source, calls, shape).parse())


def json_call_array(source: Source, calls: CallWriter, shape: CallShape = MARKED) -> Parse[bool]:
    """The array of call objects whose bracket stands at the cursor."""
    source.pos += 1
    first = True
    while True:
        character = yield from source.next_visible()
        if character == "]":
            source.pos += 1
            return not (first and shape.strict)
        if character == "," and not first:
            source.pos += 1
        elif character == "{":
            if not first:
                source.mark(source.pos)
            if not (yield from json_call(source, calls, shape)):
                return False
            first = False
        else:
            return not first


def json_arguments(source: Source, calls: CallWriter) -> Parse[bool]:
    """The arguments of the call that is open, and its end; False if the text was cut off."""
    character = yield from source.next_visible()
    whole = True
    if character == "{":
        whole = yield from json_value(source, calls.write)
    elif character in ('"', "'"):
        inner = _EncodedObject(lambda: None, calls.write)
        whole = yield from json_value(source, inner.feed)
        inner.end(whole=whole, cut=source.cut)
    if source.cut and (not whole or not character):
        return False
    calls.close()
    return True


def json_calls(source: Source, calls: CallWriter, shape: CallShape = MARKED) -> Parse[bool]:
    """A call object or an array of them, at the next visible character."""
    character = yield from source.next_visible()
    if character == "{":
        return (yield from json_call(source, calls, shape))
    if character == "[":
        return (yield from json_call_array(source, calls, shape))
    return False


def json_block(close: str) -> Callable[[Source, CallWriter, str], Parse[bool]]:
    """Calls in JSON up to the marker `close`: an object, several in a row, or an array."""

    def parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        if not (yield from json_calls(source, calls)):
            return False
        while True:
            if (yield from source.next_visible()) in ("}", "]"):
                yield from source.run(_SURPLUS)  # a frequent slip of small models
                yield from source.space(None)
            if (yield from source.closer(close)):
                return True
            if (yield from source.peek()) not in ("{", "["):
                return True
            source.mark(source.pos)
            if not (yield from json_calls(source, calls)):
                return False

    return parse
