"""What an output parser hands out, and the box in which it collects it.

Deltas are tuples: one is made for every token, and a frozen dataclass takes three times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class ToolCallDelta(NamedTuple):
    """A piece of one call, as in OpenAI's stream: id and name come once, with the first piece."""

    index: int  # type: ignore[assignment]  # instead of tuple.index
    id: str | None
    name: str | None
    arguments: str


class Delta(NamedTuple):
    """A piece of an answer; exactly one of the three is there."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call; `arguments` is JSON text of an object, unless the call was cut off."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """A whole answer; None for a text that is not there."""

    content: str | None
    reasoning: str | None
    tool_calls: tuple[ToolCall, ...]


class Outbox:
    """Pieces in order; neighbours of one kind are joined into one delta."""

    __slots__ = ("_call", "_calls", "_deltas", "_kind", "_parts")

    _CONTENT, _REASONING, _ARGUMENTS = range(3)

    def __init__(self) -> None:
        self._deltas: list[Delta] = []
        self._kind = self._CONTENT
        self._call = 0  # the index that `_parts` belong to, when they are arguments
        self._parts: list[str] = []
        self._calls = 0

    @property
    def call_count(self) -> int:
        return self._calls

    def content(self, text: str) -> None:
        if text:
            self._add(self._CONTENT, text)

    def reasoning(self, text: str) -> None:
        if text:
            self._add(self._REASONING, text)

    def open_call(self, call_id: str, name: str) -> None:
        self._flush()
        self._call = self._calls
        self._calls += 1
        self._deltas.append(Delta(tool_calls=(ToolCallDelta(self._call, call_id, name, ""),)))

    def arguments(self, text: str) -> None:
        if text:
            self._add(self._ARGUMENTS, text)

    def take(self) -> list[Delta]:
        """What has come since the last time."""
        if self._parts:
            self._flush()
        taken = self._deltas
        if taken:
            self._deltas = []
        return taken

    def waiting_calls(self) -> tuple[ToolCall, ...]:
        """Those that have come since the last time, without taking them."""
        self._flush()
        return join_deltas(self._deltas).tool_calls

    def pour(self, other: Outbox) -> None:
        """Take over all of `other`, whose calls have been counted from 0 as here."""
        assert self._calls == 0 or other._calls == 0
        self._flush()
        self._calls += other._calls
        self._deltas += other.take()

    def _add(self, kind: int, text: str) -> None:
        if kind != self._kind:
            self._flush()
            self._kind = kind
        self._parts.append(text)

    def _flush(self) -> None:
        if not self._parts:
            return
        text = "".join(self._parts)
        self._parts = []
        if self._kind == self._CONTENT:
            self._deltas.append(Delta(text))
        elif self._kind == self._REASONING:
            self._deltas.append(Delta(None, text))
        else:
            self._deltas.append(Delta(None, None, (ToolCallDelta(self._call, None, None, text),)))


def join_deltas(deltas: Sequence[Delta]) -> ParsedOutput:
    """The answer that pieces add up to."""
    content = [delta.content for delta in deltas if delta.content is not None]
    reasoning = [delta.reasoning for delta in deltas if delta.reasoning is not None]
    heads: list[tuple[str, str]] = []
    arguments: list[list[str]] = []
    for delta in deltas:
        for piece in delta.tool_calls:
            if piece.id is not None and piece.name is not None:
                heads.append((piece.id, piece.name))
                arguments.append([])
            arguments[piece.index].append(piece.arguments)
    return ParsedOutput(
        content="".join(content) or None,
        reasoning="".join(reasoning) or None,
        tool_calls=tuple(
            ToolCall(call_id, name, "".join(parts))
            for (call_id, name), parts in zip(heads, arguments, strict=True)
        ),
    )
