"""Feeds an output parser in pieces and adds up its deltas, as a client would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ftllm.tool_parsers import Delta, OutputParser, ParsedOutput, ToolCall


class Collector:
    """Adds deltas up and asserts what every stream has to keep to."""

    def __init__(self) -> None:
        self.content = ""
        self.reasoning = ""
        self.calls: list[tuple[str, str]] = []  # id, name
        self.arguments: list[str] = []

    def add(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            assert delta.content or delta.reasoning or delta.tool_calls, "an empty delta"
            self.content += delta.content or ""
            self.reasoning += delta.reasoning or ""
            for call in delta.tool_calls:
                if call.index == len(self.calls):
                    assert call.id, "the first piece of a call has its id"
                    assert call.name, "the first piece of a call has its name"
                    self.calls.append((call.id, call.name))
                    self.arguments.append(call.arguments)
                else:
                    assert call.index == len(self.calls) - 1, "calls come one after the other"
                    assert call.name is None, "a name is sent once"
                    assert call.id in (None, self.calls[-1][0])
                    assert call.arguments, "an empty piece of arguments"
                    self.arguments[-1] += call.arguments

    @property
    def length(self) -> int:
        """Characters that have come out."""
        return len(self.content) + len(self.reasoning) + sum(map(len, self.arguments))

    def output(self) -> ParsedOutput:
        ids = [call_id for call_id, _ in self.calls]
        assert len(set(ids)) == len(ids), "ids are unique"
        return ParsedOutput(
            self.content or None,
            self.reasoning or None,
            tuple(
                ToolCall(call_id, name, arguments)
                for (call_id, name), arguments in zip(self.calls, self.arguments, strict=True)
            ),
        )


def stream(parser: OutputParser, pieces: Iterable[str], finish_reason: str) -> ParsedOutput:
    collector = Collector()
    for piece in pieces:
        collector.add(parser.feed(piece))
    collector.add(parser.finish(finish_reason))
    return collector.output()


def without_ids(output: ParsedOutput) -> tuple[object, ...]:
    """What two runs over one text have in common; ids may be random."""
    calls = [(call.name, call.arguments) for call in output.tool_calls]
    return output.content, output.reasoning, calls


def split(text: str, places: Sequence[int]) -> list[str]:
    """`text` cut at `places`."""
    edges = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]
