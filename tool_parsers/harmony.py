"""Harmony, the format of gpt-oss: messages with a channel and a recipient each.

    <|start|>assistant to=functions.f<|channel|>commentary <|constrain|>json<|message|>{…}<|call|>

The prompt ends with `<|start|>assistant`. The recipient stands in the role or behind the channel.
A message ends with <|end|>, <|call|> or <|return|>, where the next begins, or with the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.deltas import Outbox
from ftllm.tool_parsers.json_calls import json_arguments
from ftllm.tool_parsers.source import Parse, Source, markers_of
from ftllm.tool_parsers.text_channel import TextChannel

Write = Callable[[str], None]

_START = "<|start|>"
_CHANNEL = "<|channel|>"
_MESSAGE = "<|message|>"
_BEGINNINGS = (_START, _CHANNEL, "to=")
_ENDS = ("<|end|>", "<|call|>", "<|return|>")
_HEADER_END = markers_of(_MESSAGE, *_ENDS)
_BODY_END = markers_of(*_ENDS, _START, _CHANNEL)
_CHANNEL_NAME = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"\bto=([^\s<]+)")
_FUNCTIONS = "functions."


class HarmonyMachine:
    """Parses `source` into `outbox`, as a `StateMachine` does. Without `calls` there are no calls,
    and what is sent to a function is content."""

    def __init__(
        self, source: Source, outbox: Outbox, calls: CallWriter | None, *, starts_in_reasoning: bool
    ) -> None:
        self._source = source
        self._calls = calls
        self._starts_in_reasoning = starts_in_reasoning
        self._reasoning = _Messages(outbox.reasoning)
        self._content = _Messages(outbox.content)
        self.in_reasoning = False
        self.reasoning_length = 0  # characters of the text, headers included

    def run(self) -> Parse[None]:
        source = self._source
        if self._starts_in_reasoning:
            yield from self._think(0)
        while not source.exhausted:
            space: list[str] = []
            yield from source.space(space.append)
            yield from source.is_followed(0, _BEGINNINGS)
            start = source.position
            if any(source.text.startswith(each, source.pos) for each in _BEGINNINGS):
                parts: list[str] = []
                mark = yield from source.until(_HEADER_END, parts.append)
                source.pos += len(mark)
                header = "".join(parts)
                if mark == _MESSAGE:
                    yield from self._body(header, start)
                elif not mark and not source.cut and not header.startswith(_START):
                    self._content.add("".join([*space, header]))  # it only looked like a header
            elif not (yield from source.literal(*_ENDS)):
                yield from self._content.parse(source, "".join(space))

    def _body(self, header: str, start: int) -> Parse[None]:
        """What comes behind a header, which begins at `start`."""
        source = self._source
        channel = _CHANNEL_NAME.search(header)
        found = _RECIPIENT.search(header)
        recipient = found[1] if found else ""
        function = recipient.removeprefix(_FUNCTIONS)
        if function != recipient and function:
            if self._calls is None:
                yield from self._content.parse(source)
            else:
                yield from self._call(self._calls, function)
        elif recipient:  # a tool of the host, such as python: nothing for the reader
            yield from _skip(source)
        elif channel is not None and channel[1] == "analysis":
            yield from self._think(start)
        else:
            yield from self._content.parse(source)

    def _think(self, start: int) -> Parse[None]:
        self.in_reasoning = True
        yield from self._reasoning.parse(self._source)
        self.reasoning_length += self._source.position - start
        self.in_reasoning = False

    def _call(self, calls: CallWriter, name: str) -> Parse[None]:
        calls.open(name)
        if not (yield from json_arguments(self._source, calls)):
            calls.abandon()
        yield from _skip(self._source)


class _Messages:
    """The messages of a kind, a newline between them."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._any = False  # a text of the kind has come
        self._ended = False  # and the message that it belongs to has ended

    def parse(self, source: Source, text: str = "") -> Parse[None]:
        """One message, up to its end; `text` is its beginning."""
        self._ended = self._any
        channel = TextChannel(self._pass_on)
        if text:
            channel.write(text)
        mark = yield from source.until(_BODY_END, channel.write)
        if mark in _ENDS:
            source.pos += len(mark)
        channel.end()

    def add(self, text: str) -> None:
        """Text that goes on where the last message ended."""
        self._ended = False
        self._any = True
        self._write(text)

    def _pass_on(self, text: str) -> None:
        if self._ended:
            text = f"\n{text}"
            self._ended = False
        self._any = True
        self._write(text)


def _skip(source: Source) -> Parse[None]:
    """Past the end of a message."""
    mark = yield from source.until(_BODY_END, lambda _: None)
    if mark in _ENDS:
        source.pos += len(mark)
