"""Which dialects of tool calls and thinking the served model speaks, and why it is thought so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ftllm.errors import OptionError
from ftllm.tool_parsers import REASONING_DIALECTS, TOOL_DIALECTS, AnyReasoningDialect

AUTO, NONE = "auto", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A choice and its reason, in words for the log and for /v1/models."""

    name: str | None  # None: answers are not searched for it
    reason: str

    def card(self) -> dict[str, object]:
        return {"name": self.name, "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialects:
    tools: Dialect
    reasoning: Dialect

    def lines(self) -> tuple[str, ...]:
        """For the log, at start."""
        return (
            f"tool call parser: {self.tools.name or NONE} ({self.tools.reason})",
            f"reasoning parser: {self.reasoning.name or NONE} ({self.reasoning.reason})",
        )

    @property
    def reasoning_dialect(self) -> AnyReasoningDialect | None:
        name = self.reasoning.name
        return None if name is None else REASONING_DIALECTS[name]


def choose_dialects(*, tool_call_parser: str, reasoning_parser: str) -> Dialects:
    """Raises `OptionError` for a name that no dialect has."""
    return Dialects(
        tools=_chosen(tool_call_parser, TOOL_DIALECTS, "tool_call_parser"),
        reasoning=_chosen(reasoning_parser, REASONING_DIALECTS, "reasoning_parser"),
    )


def _chosen(name: str, known: Mapping[str, object], option: str) -> Dialect:
    if name in (AUTO, NONE):
        return Dialect(name=None, reason=f"--{option} {name}")
    if name not in known:
        raise OptionError(
            f"{option} is {name!r}; it must be auto, none or one of {', '.join(sorted(known))}."
        )
    return Dialect(name=name, reason=f"--{option} {name}")
