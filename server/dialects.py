"""Which dialects of tool calls and thinking the served model speaks, and why it is thought so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ftllm.errors import OptionError
from ftllm.server.model import ServedModel
from ftllm.text.tokenizer import Tokenizer
from ftllm.tool_parsers import (
    REASONING_DIALECTS,
    TOOL_DIALECTS,
    AnyReasoningDialect,
    AnyToolDialect,
    detect_dialects,
)

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
    def tool_dialect(self) -> AnyToolDialect | None:
        name = self.tools.name
        return None if name is None else TOOL_DIALECTS[name]

    @property
    def reasoning_dialect(self) -> AnyReasoningDialect | None:
        name = self.reasoning.name
        return None if name is None else REASONING_DIALECTS[name]


def choose_dialects(
    model: ServedModel, *, tool_call_parser: str, reasoning_parser: str
) -> Dialects:
    """What the operator says, or what the model's chat template, vocabulary and type tell. Raises
    `OptionError` for a name that no dialect has."""
    template = model.chat_template
    found = detect_dialects(
        None if template is None else template.source,
        model.model_type,
        _Vocabulary(model.tokenizer),
    )
    tools = _said(tool_call_parser, TOOL_DIALECTS, "tool_call_parser")
    reasoning = _said(reasoning_parser, REASONING_DIALECTS, "reasoning_parser")
    return Dialects(
        tools=tools or Dialect(name=found.tool, reason=found.tool_reason),
        reasoning=reasoning or Dialect(name=found.reasoning, reason=found.reasoning_reason),
    )


def _said(name: str, known: Mapping[str, object], option: str) -> Dialect | None:
    """None: it is left to what is found."""
    if name == AUTO:
        return None
    if name != NONE and name not in known:
        raise OptionError(
            f"{option} is {name!r}; it must be auto, none or one of {', '.join(sorted(known))}."
        )
    return Dialect(name=None if name == NONE else name, reason=f"--{option} {name}")


class _Vocabulary:
    """The tokens of a tokenizer, by their spelling."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and self._tokenizer.token_id(text) is not None
