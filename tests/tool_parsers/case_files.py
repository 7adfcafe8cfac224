"""The cases of cases/<dialect>.jsonl: an answer's text and what has to be found in it.

A line has `name`, `text`, the dialects (`tool_dialect`, `reasoning_dialect`), where they matter
`starts_in_reasoning` and `finish_reason`, and what is expected: `content`, `reasoning`,
`tool_calls`. The arguments of a call are compared as values when given as an object, character by
character when given as a string; `partial` is what the arguments of a call that was cut off have to
begin with. `grow` names a part of the text that stands for a text of any length. Every case has the
tools of tools.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ftllm.tool_parsers import OutputParser, ParsedOutput, parse_output

_HERE = Path(__file__).parent
TOOLS: list[dict[str, Any]] = json.loads((_HERE / "tools.json").read_text("utf-8"))
FILES = sorted(_HERE.glob("cases/*.jsonl"))
_SPACE_OUTSIDE_STRINGS = re.compile(r'("(?:[^"\\]|\\.)*"?)|\s+')


@dataclass(frozen=True)
class ExpectedCall:
    name: str
    arguments: str | Mapping[str, Any] | None = None
    partial: str | None = None
    id: str | None = None

    def check(self, name: str, arguments: str, call_id: str) -> None:
        assert name == self.name
        if self.id is not None:
            assert call_id == self.id
        if self.partial is not None:
            assert _compact(arguments).startswith(_compact(self.partial)), arguments
            return
        value = json.loads(arguments)
        assert isinstance(value, dict)
        if isinstance(self.arguments, str):
            assert arguments == self.arguments
        else:  # as text, since 1 == 1.0 == True
            assert json.dumps(value, sort_keys=True) == json.dumps(self.arguments, sort_keys=True)


@dataclass(frozen=True)
class Case:
    file: str
    name: str
    text: str
    content: str | None
    reasoning: str | None
    tool_calls: tuple[ExpectedCall, ...]
    tool_dialect: str | None = None
    reasoning_dialect: str | None = None
    starts_in_reasoning: bool = False
    finish_reason: str = "stop"
    grow: str | None = None

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    def parser(self) -> OutputParser:
        return OutputParser(
            tools=TOOLS,
            tool_dialect=self.tool_dialect,
            reasoning_dialect=self.reasoning_dialect,
            starts_in_reasoning=self.starts_in_reasoning,
        )

    def parse(self) -> ParsedOutput:
        return parse_output(
            self.text,
            tools=TOOLS,
            tool_dialect=self.tool_dialect,
            reasoning_dialect=self.reasoning_dialect,
            starts_in_reasoning=self.starts_in_reasoning,
            finish_reason=self.finish_reason,
        )

    def check(self, found: ParsedOutput) -> None:
        assert found.content == self.content
        assert found.reasoning == self.reasoning
        assert [call.name for call in found.tool_calls] == [call.name for call in self.tool_calls]
        for call, expected in zip(found.tool_calls, self.tool_calls, strict=True):
            expected.check(call.name, call.arguments, call.id)

    def grown(self, text: str) -> Case:
        """The case with `text` in the place of its growing part. What it expects is left alone."""
        assert self.grow is not None
        assert self.text.count(self.grow) == 1
        return replace(self, text=self.text.replace(self.grow, text))


def load(path: Path) -> list[Case]:
    return [_case(path.stem, json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def all_cases() -> list[Case]:
    return [case for path in FILES for case in load(path)]


def _case(file: str, line: dict[str, Any]) -> Case:
    calls: Sequence[dict[str, Any]] = line["tool_calls"]
    return Case(**{**line, "file": file, "tool_calls": tuple(ExpectedCall(**c) for c in calls)})


def _compact(json_text: str) -> str:
    """JSON text, perhaps cut off, without white space outside strings."""
    return _SPACE_OUTSIDE_STRINGS.sub(lambda match: match[1] or "", json_text)
