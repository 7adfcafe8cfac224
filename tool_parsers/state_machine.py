"""The one state machine of all dialects: reasoning, content and calls, in the order they come.

    [reasoning] content (opening calls [closing] content)*

Reasoning ends at its first end marker and is opaque up to there, so it has a source of its own that
holds nothing else. In content, an opening begins an attempt: the dialect's parse function reads on
until it opens a call or finds that the text is none, which then is content in full.
"""

from __future__ import annotations

from collections.abc import Callable

from ftllm.tool_parsers.argument_check import arguments_fit
from ftllm.tool_parsers.call_ids import IdSource
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.deltas import Outbox, ToolCall
from ftllm.tool_parsers.dialect import ParseAnswer, ReasoningDialect, ToolDialect
from ftllm.tool_parsers.source import Parse, Source, markers_of
from ftllm.tool_parsers.text_channel import TextChannel, Trim
from ftllm.tool_parsers.tool_schemas import ToolSchemas


class StateMachine:
    """Parses `source` into `outbox`."""

    def __init__(
        self,
        source: Source,
        outbox: Outbox,
        *,
        tools: ToolSchemas,
        tool_dialect: ToolDialect | None,
        reasoning_dialect: ReasoningDialect | None,
        starts_in_reasoning: bool,
        new_id: IdSource | None,
    ) -> None:
        self._source = source
        self._outbox = outbox
        self._tools = tools
        self._dialect = tool_dialect
        self._reasoning = reasoning_dialect
        self._starts_in_reasoning = starts_in_reasoning
        self._new_id = new_id
        self._content = TextChannel(outbox.content)
        self._answer_end = ""  # the tag that ends the content, when one has begun it
        self._calls: CallWriter | None = None
        if self._dialect is not None:
            self._calls = self._call_writer(self._dialect, outbox, self._on_call)
        self.in_reasoning = False
        self.reasoning_length = 0  # characters of the text, markers included

    def run(self) -> Parse[None]:
        if self._reasoning is None and self._dialect is None:
            yield from _plain(self._source, self._outbox.content)
            return
        if self._reasoning is not None:
            yield from self._reasoning_part(self._reasoning)
        yield from self._answer()

    # Reasoning

    def _reasoning_part(self, dialect: ReasoningDialect) -> Parse[None]:
        source = self._source
        space: list[str] = []
        yield from source.space(space.append)
        marker = yield from source.literal(*dialect.starts, *dialect.ends)
        ended = marker in dialect.ends  # without a start it closes what the prompt had opened
        if self._starts_in_reasoning or marker in dialect.starts:
            self.in_reasoning = True
            if not ended:
                ended = yield from self._until_end(dialect)
            self.reasoning_length = source.position
            self.in_reasoning = False
        if ended:
            space.clear()
            self._content.trim = Trim.SPACE
        yield from self._answer_start(dialect, space)

    def _until_end(self, dialect: ReasoningDialect) -> Parse[bool]:
        """Reasoning up to its end marker; False if the text ended without one."""
        source = self._source
        inner = Source()
        thinking = self._thinking(inner)
        next(thinking)

        def pass_on(text: str) -> None:
            inner.feed(text)
            next(thinking)

        marker = yield from source.until(markers_of(*dialect.ends), pass_on)
        source.pos += len(marker)
        inner.end("length" if marker or source.cut else "stop")
        next(thinking, None)
        return bool(marker)

    def _thinking(self, source: Source) -> Parse[None]:
        """Reasoning without its markers. A call counts only where nothing but calls follows."""
        channel = TextChannel(self._outbox.reasoning)
        channel.trim = Trim.SPACE
        while self._dialect is not None and self._dialect.openings:
            marker = yield from source.until(markers_of(*self._dialect.openings), channel.write)
            if not marker:
                return
            raw = source.record(source.pos)
            held = Outbox()
            if (yield from self._calls_to_the_end(self._dialect, source, held)):
                self._outbox.pour(held)
                return
            channel.write(source.recorded(raw))
        yield from _plain(source, channel.write)

    def _calls_to_the_end(
        self, dialect: ToolDialect, source: Source, outbox: Outbox
    ) -> Parse[bool]:
        """Calls, and nothing else, up to an end that the model chose; whether it was so."""
        calls = self._call_writer(dialect, outbox, source.unmark)
        while not source.ended or not source.exhausted:
            marker = yield from source.literal(*dialect.openings)
            if not marker:
                break
            source.mark(source.pos)
            found = yield from dialect.parse(source, calls, marker)
            source.unmark()
            if not found:
                return False
            yield from source.space(None)
        if calls.is_open and not source.cut:
            calls.close()
        return source.exhausted and not source.cut and outbox.call_count > 0

    def _answer_start(self, dialect: ReasoningDialect, space: list[str]) -> Parse[None]:
        """What may stand between reasoning and content: more end markers, a tag that wraps it."""
        source = self._source
        while True:
            yield from source.space(space.append)
            if not (yield from source.literal(*dialect.ends)):
                break
            space.clear()
        tags = dict(dialect.answer_tags)
        tag = yield from source.literal(*tags)
        if tag:
            space.clear()
            self._content.trim = Trim.SPACE
            self._answer_end = tags[tag]
        if space:
            self._content.write("".join(space))

    # Content and calls

    def _answer(self) -> Parse[None]:
        source, content, dialect = self._source, self._content, self._dialect
        texts = [self._answer_end] if self._answer_end else []
        if dialect is not None:
            texts += [*dialect.openings, *dialect.bare]
        if not texts:
            yield from _plain(source, content.write)
        if dialect is not None and dialect.reply_prefix:
            yield from self._skip_prefix(dialect.reply_prefix)
        if dialect is not None and dialect.unmarked is not None:
            yield from self._unmarked_answer(dialect, dialect.unmarked)
        markers = markers_of(*texts) if texts else None
        while markers is not None:
            marker = yield from source.until(markers, content.write, self._cut_marker)
            if not marker:
                break
            if marker == self._answer_end:
                source.pos += len(marker)
                content.drop_space()
                yield from source.space(None)
            elif dialect is not None and (marker not in dialect.bare or content.line_start):
                yield from self._attempt(dialect, marker)
            else:
                source.pos += len(marker)
                content.write(marker)
        content.end()

    def _skip_prefix(self, prefix: str) -> Parse[None]:
        space: list[str] = []
        yield from self._source.space(space.append)
        found = yield from self._source.literal(prefix)
        if space and not found:
            self._content.write("".join(space))

    def _unmarked_answer(self, dialect: ToolDialect, parse: ParseAnswer) -> Parse[None]:
        """An answer of calls without markers, which is known at its end; or else content."""
        source, held = self._source, Outbox()
        raw = source.record(source.pos)
        yield from source.space(None)
        calls = self._call_writer(dialect, held, lambda: None)
        found = yield from parse(source, calls)
        text = source.recorded(raw)
        if found and all(self._may_be(call) for call in held.waiting_calls()):
            self._content.begin_after_call()
            self._outbox.pour(held)
        elif text:
            self._content.write(text)

    def _may_be(self, call: ToolCall) -> bool:
        """Not one that breaks the promise of a strict tool."""
        return call.name not in self._tools.strict or arguments_fit(
            call.arguments, self._tools.parameters(call.name)
        )

    def _attempt(self, dialect: ToolDialect, marker: str) -> Parse[None]:
        """Calls behind `marker`, at the cursor, or content that only looked like them."""
        source, calls = self._source, self._calls
        assert calls is not None
        start, count = source.position, calls.outbox.call_count
        source.mark(source.pos)
        if marker not in dialect.bare:
            source.pos += len(marker)
        found = yield from dialect.parse(source, calls, marker)
        if calls.is_open:
            if source.cut:
                calls.abandon()
            else:
                calls.close()
        if source.position == start:
            source.pos += len(marker)
        if source.is_marked and not found:
            # Cut off behind a marker or a call: a call of which not even the name is known.
            sure = marker not in dialect.bare or calls.outbox.call_count > count
            if sure and source.exhausted and source.cut:
                self._content.drop_space()
            else:
                self._content.write(source.marked_text())
        elif space := source.skipped_space():
            self._content.write(space)
        source.unmark()

    def _on_call(self) -> None:
        self._source.unmark()
        self._content.begin_after_call()

    def _cut_marker(self, text: str) -> None:
        """The text ends with the beginning of a marker."""
        if not (self._source.cut and self._content.is_after_call):
            self._content.write(text)

    def _call_writer(
        self, dialect: ToolDialect, outbox: Outbox, on_open: Callable[[], None]
    ) -> CallWriter:
        return CallWriter(self._tools, outbox, self._new_id or dialect.new_id, on_open)


def _plain(source: Source, write: Callable[[str], None]) -> Parse[None]:
    """Text without any marker to look for."""
    while True:
        if source.pos < len(source.text):
            write(source.text[source.pos :])
            source.pos = len(source.text)
        if source.ended:
            return
        yield
