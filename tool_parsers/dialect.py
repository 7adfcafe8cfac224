"""What a dialect is: markers, and a parse function over one of the value grammars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftllm.tool_parsers.call_ids import IdSource, hex_id
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.source import Parse, Source

ParseCalls = Callable[[Source, CallWriter, str], Parse[bool]]
"""Reads what follows an opening, which is the third argument, and writes the calls found there.

The cursor stands behind the opening, or in front of a bare one. A function that finds out, before
it has opened a call, that the text is none returns False and leaves the cursor there: the text up
to it becomes content. Behind a call it moves past the closing marker, which may be missing.
"""


@dataclass(frozen=True, slots=True)
class ToolDialect:
    """How a family of models writes tool calls.

    `openings` are markers that may begin a call anywhere in the content. `bare` are texts that may
    begin one at the start of a line; `parse` must then be sure to tell a call from other text.
    `reply_prefix` is a text that the model puts before content when it has tools; it is dropped.
    """

    name: str
    openings: tuple[str, ...]
    parse: ParseCalls
    bare: tuple[str, ...] = ()
    new_id: IdSource = hex_id
    reply_prefix: str = ""


@dataclass(frozen=True, slots=True)
class ReasoningDialect:
    """How a family of models marks its reasoning.

    `answer_tags` are pairs that may wrap the content behind the reasoning; they are dropped.
    """

    name: str
    starts: tuple[str, ...]
    ends: tuple[str, ...]
    answer_tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelDialect:
    """Answers made of messages in channels (harmony): content, reasoning and calls in one.

    `openings` begin a call or any other message, `starts` a message of reasoning.
    """

    name: str
    openings: tuple[str, ...] = ("<|start|>", "<|channel|>")
    starts: tuple[str, ...] = ("<|channel|>analysis<|message|>",)
    ends: tuple[str, ...] = ("<|end|>",)


def think_tags(name: str) -> ReasoningDialect:
    """Reasoning between `<think>` and `</think>`."""
    return ReasoningDialect(name, ("<think>",), ("</think>",))
