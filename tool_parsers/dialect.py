"""What a dialect is: markers, and a parse function over one of the value grammars."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from ftllm.tool_parsers.call_ids import IdSource, hex_id
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.source import Parse, Source

ParseCalls = Callable[[Source, CallWriter, str], Parse[bool]]
"""Reads what follows an opening, which is the third argument, and writes the calls found there.

The cursor stands behind the opening, or in front of a bare one. A function that finds out, before
it has opened a call, that the text is none returns False and leaves the cursor there: the text up
to it becomes content. Behind a call it moves past the closing marker, which may be missing.
"""

ParseAnswer = Callable[[Source, CallWriter], Parse[bool]]
"""Reads an answer from its first visible character on; whether it is calls and nothing else. Stops
where it finds that it is not; the text up to there becomes content."""


class CallGrammars:
    """The grammars that constrain a dialect's calls, in Lark for llguidance."""

    __slots__ = ()

    layout: CallLayout
    openings: tuple[str, ...]

    def layout_for(self, special: Container[str]) -> CallLayout:
        """The layout, in a vocabulary with these markers as special tokens."""
        return self.layout

    @property
    def trigger(self) -> str | None:
        """The marker that begins a call in free text; None if there is none that is sure."""
        start = self.layout.start
        return next((each for each in self.openings if start.startswith(each)), None)

    @property
    def triggers(self) -> tuple[str, ...]:
        """The `trigger` and the markers that stand for it."""
        return () if self.trigger is None else (self.trigger,)

    def grammar(
        self,
        tools: Sequence[Mapping[str, object]],
        *,
        parallel: bool,
        special: Container[str] = (),
    ) -> str:
        """A whole answer: one call of `tools` or, if `parallel`, several.

        Markers stand as text in literals of rules; whoever compiles the grammar puts the tokens
        in. `special` are the special tokens of the vocabulary: they may tell the layout. Raises
        `RequestError` for schemas that cannot be guaranteed.
        """
        return self.layout_for(special).grammar(tools, parallel=parallel)

    def grammar_behind_trigger(
        self,
        tools: Sequence[Mapping[str, object]],
        *,
        parallel: bool,
        special: Container[str] = (),
    ) -> str | None:
        """What has to follow one of the `triggers`; None without. Otherwise as `grammar`."""
        if self.trigger is None:
            return None
        return self.layout_for(special).grammar(tools, parallel=parallel, opening=self.trigger)


@dataclass(frozen=True, slots=True)
class ToolDialect(CallGrammars):
    """How a family of models writes tool calls.

    `openings` are markers that may begin a call anywhere in the content; `synonyms` are those of
    them behind which the same follows as behind the one of the layout. `bare` are texts that may
    begin one at the start of a line; `parse` must then be sure to tell a call from other text.
    `unmarked` reads answers that are calls without a marker, which some of the models write.
    `reply_prefix` is a text that the model puts before content when it has tools; it is dropped.
    `older` is a marker and the layout of models whose vocabulary lacks it.
    """

    name: str
    openings: tuple[str, ...]
    parse: ParseCalls
    layout: CallLayout
    synonyms: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    unmarked: ParseAnswer | None = None
    new_id: IdSource = hex_id
    reply_prefix: str = ""
    older: tuple[str, CallLayout] | None = None

    @property
    def triggers(self) -> tuple[str, ...]:
        return () if self.trigger is None else (self.trigger, *self.synonyms)

    def guarded(self) -> ToolDialect:
        """The dialect without calls that no grammar constrains while the text around is free:
        those behind other markers than `triggers` or, where there are none, behind any."""
        bare = self.bare if self.trigger is None else ()
        return replace(self, openings=self.triggers, bare=bare)

    def layout_for(self, special: Container[str]) -> CallLayout:
        if self.older is not None and self.older[0] not in special:
            return self.older[1]
        return self.layout


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
class ChannelDialect(CallGrammars):
    """Answers made of messages in channels (harmony): content, reasoning and calls in one.

    `openings` begin a call, `starts` a message of reasoning, `ends` end one.
    """

    name: str
    layout: CallLayout
    openings: tuple[str, ...] = ("<|channel|>commentary to=functions.",)
    starts: tuple[str, ...] = ("<|channel|>analysis<|message|>",)
    ends: tuple[str, ...] = ("<|end|>",)


def think_tags(name: str) -> ReasoningDialect:
    """Reasoning between `<think>` and `</think>`."""
    return ReasoningDialect(name, ("<think>",), ("</think>",))
