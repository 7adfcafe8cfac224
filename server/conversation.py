"""A conversation and the tools it offers, as every chat endpoint hands them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that an assistant made. `arguments` are JSON text, or the object that it spells."""

    call_id: str
    name: str
    arguments: str | Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `tool_calls` and `reasoning` belong to assistants, `tool_call_id` to results."""

    role: Role
    content: str | None = None
    name: str | None = None  # the speaker's; for a result, the function's
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    @property
    def size(self) -> int:
        """About how many characters it has."""
        arguments = sum(len(str(call.arguments)) for call in self.tool_calls)
        return len(self.content or "") + len(self.reasoning or "") + arguments

    def template_form(self) -> dict[str, object]:
        """What chat templates expect: the shape that transformers documents for them."""
        form: dict[str, object] = {"role": self.role, "content": self.content or ""}
        if self.name is not None:
            form["name"] = self.name
        if self.reasoning:
            form["reasoning_content"] = self.reasoning
        if self.tool_calls:
            form["content"] = self.content
            form["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for call in self.tool_calls
            ]
        if self.tool_call_id is not None:
            form["tool_call_id"] = self.tool_call_id
        return form


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function that the model may call. `parameters` is a JSON Schema of an object."""

    name: str
    description: str | None = None
    parameters: Mapping[str, object] | None = None  # None: it takes none
    # Every call must be valid by the schema; None: if that can be guaranteed.
    strict: bool | None = False

    def template_form(self) -> dict[str, object]:
        """What chat templates and parsers expect. `strict` is the server's affair, not theirs."""
        function: dict[str, object] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        function["parameters"] = self.parameters or {"type": "object", "properties": {}}
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """The tools of a turn, and what the model may make of them. Without tools, answers are not
    searched for calls."""

    tools: tuple[FunctionTool, ...] = ()
    required: bool = False  # the answer has to be a call
    allowed: frozenset[str] | None = None  # the only functions that may be called; None = all
    parallel: bool = True  # several calls in one answer

    @property
    def callable_tools(self) -> tuple[FunctionTool, ...]:
        if self.allowed is None:
            return self.tools
        return tuple(tool for tool in self.tools if tool.name in self.allowed)
