"""Parses what a model writes into content, reasoning and tool calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ftllm.tool_parsers.call_ids import IdSource, hex_id
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.deltas import Delta, Outbox, ParsedOutput, join_deltas
from ftllm.tool_parsers.dialect import ChannelDialect, ReasoningDialect, ToolDialect
from ftllm.tool_parsers.harmony import HarmonyMachine
from ftllm.tool_parsers.registry import reasoning_dialect_named, tool_dialect_named
from ftllm.tool_parsers.source import FinishReason, Source
from ftllm.tool_parsers.state_machine import StateMachine
from ftllm.tool_parsers.tool_schemas import ToolSchemas


class OutputParser:
    """Splits one answer while it is generated; linear in its length, for any split of the text.

    `tools` are the request's, in OpenAI's form; without them, or without a dialect, nothing is
    parsed as a call. With `strict` ones a grammar sees to it that calls fit, and what it cannot
    constrain is a call only if it fits, or with `marked_only` not at all.
    `starts_in_reasoning` says that the prompt ends inside a reasoning block. `new_id` makes the
    ids of calls for which the model writes none (for tests).

    The pieces that `feed` and `finish` return add up to the same answer however the text is split.
    """

    def __init__(
        self,
        *,
        tools: Sequence[Mapping[str, object]] = (),
        tool_dialect: str | None = None,
        reasoning_dialect: str | None = None,
        starts_in_reasoning: bool = False,
        strict: Collection[str] = (),
        marked_only: bool = False,
        new_id: IdSource | None = None,
    ) -> None:
        self._source = Source()
        self._outbox = Outbox()
        self._machine = _machine(
            self._source,
            self._outbox,
            tools=ToolSchemas(tools, strict=strict),
            tool_dialect=None if tool_dialect is None else tool_dialect_named(tool_dialect),
            reasoning_dialect=(
                None if reasoning_dialect is None else reasoning_dialect_named(reasoning_dialect)
            ),
            starts_in_reasoning=starts_in_reasoning,
            marked_only=marked_only,
            new_id=new_id,
        )
        self._run = self._machine.run()
        next(self._run)

    @property
    def in_reasoning(self) -> bool:
        """The text fed so far ends inside reasoning."""
        return self._machine.in_reasoning

    @property
    def reasoning_length(self) -> int:
        """Characters fed that belong to reasoning that has ended, with its markers."""
        return self._machine.reasoning_length

    @property
    def position(self) -> int:
        """Characters fed that are decided upon, or put aside until a call proves to be one."""
        return self._source.position

    @property
    def has_tool_calls(self) -> bool:
        """A call has been handed out, so a "stop" is a "tool_calls"."""
        return self._outbox.call_count > 0

    def feed(self, text: str) -> list[Delta]:
        """What is certain now that `text` has come."""
        if not text:
            return []
        self._source.feed(text)
        next(self._run)
        return self._outbox.take()

    def finish(self, reason: FinishReason) -> list[Delta]:
        """The rest. "stop": the model ended its answer, so an open call is completed; "length":
        the answer was cut off, and so is an open call."""
        self._source.end(reason)
        next(self._run, None)
        return self._outbox.take()


def _machine(
    source: Source,
    outbox: Outbox,
    *,
    tools: ToolSchemas,
    tool_dialect: ToolDialect | ChannelDialect | None,
    reasoning_dialect: ReasoningDialect | ChannelDialect | None,
    starts_in_reasoning: bool,
    marked_only: bool,
    new_id: IdSource | None,
) -> StateMachine | HarmonyMachine:
    if not tools:
        tool_dialect = None
    if isinstance(tool_dialect, ChannelDialect) or isinstance(reasoning_dialect, ChannelDialect):
        calls = None if tool_dialect is None else CallWriter(tools, outbox, new_id or hex_id)
        return HarmonyMachine(source, outbox, calls, starts_in_reasoning=starts_in_reasoning)
    if tool_dialect is not None and (tools.strict or marked_only):
        unmarked = None if marked_only else tool_dialect.unmarked
        tool_dialect = replace(tool_dialect.guarded(), unmarked=unmarked)
    return StateMachine(
        source,
        outbox,
        tools=tools,
        tool_dialect=tool_dialect,
        reasoning_dialect=reasoning_dialect,
        starts_in_reasoning=starts_in_reasoning,
        new_id=new_id,
    )


def parse_output(
    text: str,
    *,
    tools: Sequence[Mapping[str, object]] = (),
    tool_dialect: str | None = None,
    reasoning_dialect: str | None = None,
    starts_in_reasoning: bool = False,
    finish_reason: FinishReason = "stop",
    new_id: IdSource | None = None,
) -> ParsedOutput:
    """A whole answer, by the same parser that streams it."""
    parser = OutputParser(
        tools=tools,
        tool_dialect=tool_dialect,
        reasoning_dialect=reasoning_dialect,
        starts_in_reasoning=starts_in_reasoning,
        new_id=new_id,
    )
    return join_deltas([*parser.feed(text), *parser.finish(finish_reason)])
