"""The answer to a chat turn as it comes: content, thinking, calls and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ftllm.engine.request import TokenLogprobs
from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.choice_stream import ChoiceDelta
from ftllm.server.generation import Generation, Usage
from ftllm.tool_parsers import ToolCall, ToolCallDelta


class TurnDelta(NamedTuple):
    """What is new in one choice: one of content, reasoning and calls, or none of them. The last
    delta of a choice has a finish reason: stop, length or tool_calls. `logprobs` are of tokens of
    the content only, `token_ids` of whatever was generated."""

    index: int  # type: ignore[assignment]  # instead of tuple.index
    content: str = ""
    reasoning: str = ""
    tool_calls: Sequence[ToolCallDelta] = ()
    logprobs: Sequence[PlacedLogprob] = ()
    finish_reason: str | None = None
    token_ids: Sequence[int] = ()
    stop_string: str | None = None  # that ended it; with the finish reason


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """A whole choice. Its content is None when there is thinking or a call and nothing else."""

    content: str | None
    reasoning: str | None
    tool_calls: Sequence[ToolCall]
    logprobs: Sequence[PlacedLogprob]
    finish_reason: str
    token_ids: Sequence[int]
    prompt_ids: Sequence[int]
    prompt_logprobs: Sequence[TokenLogprobs | None] | None


class AnswerReader(Protocol):
    """Finds in one choice's text what it consists of."""

    @property
    def may_lack_content(self) -> bool:
        """There may be thinking or calls and nothing else."""
        ...

    @property
    def reasoning_tokens(self) -> int: ...

    @property
    def complete(self) -> bool:
        """Nothing that the sequence still brings belongs to the answer."""
        ...

    def read(self, delta: ChoiceDelta) -> list[TurnDelta]: ...


class PlainReader:
    """All text is content."""

    may_lack_content = False
    reasoning_tokens = 0
    complete = False

    def read(self, delta: ChoiceDelta) -> list[TurnDelta]:
        return [
            TurnDelta(
                delta.index,
                delta.text,
                logprobs=delta.logprobs,
                finish_reason=delta.finish_reason,
                token_ids=delta.token_ids,
                stop_string=delta.stop_string,
            )
        ]


class TurnAnswer:
    """Runs the choices of a turn. Whoever holds it must call `close` in the end, or `collect`,
    which does; closing may come at any time, also twice."""

    def __init__(self, generation: Generation, readers: Sequence[AnswerReader]) -> None:
        self._generation = generation
        self._readers = readers

    async def next_deltas(self) -> list[TurnDelta]:
        """What is new, or an empty list once all choices are complete. Raises what
        `Generation.next_deltas` raises."""
        while deltas := await self._generation.next_deltas():
            found: list[TurnDelta] = []
            for delta in deltas:
                reader = self._readers[delta.index]
                found += reader.read(delta)
                if reader.complete:
                    self._generation.stop(delta.index)
            if found:
                return found
        return []

    async def collect(self) -> list[TurnResult]:
        """Runs to the end, closes, and returns the choices by index."""
        drafts = [_ResultDraft() for _ in self._readers]
        try:
            while deltas := await self.next_deltas():
                for delta in deltas:
                    drafts[delta.index].add(delta)
        finally:
            self.close()
        prompt_ids = self._generation.prompt_ids
        prompt_logprobs = self._generation.prompt_logprobs
        return [
            draft.result(prompt_ids[place], prompt_logprobs[place])
            for place, draft in enumerate(drafts)
        ]

    def close(self) -> None:
        self._generation.close()

    @property
    def prompt_ids(self) -> Sequence[int]:
        return self._generation.prompt_ids[0]

    @property
    def may_lack_content(self) -> bool:
        return any(reader.may_lack_content for reader in self._readers)

    @property
    def usage(self) -> Usage:
        """Of all choices so far; complete after the last delta."""
        thought = sum(reader.reasoning_tokens for reader in self._readers)
        return replace(self._generation.usage, reasoning_tokens=thought)


class _ResultDraft:
    """Puts a choice together from its deltas."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[tuple[str, str, list[str]]] = []  # id, name, pieces of the arguments
        self._logprobs: list[PlacedLogprob] = []
        self._token_ids: list[int] = []
        self._finish_reason = ""

    def add(self, delta: TurnDelta) -> None:
        if delta.content:
            self._content.append(delta.content)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for call in delta.tool_calls:
            if call.id is not None:
                self._calls.append((call.id, call.name or "", []))
            self._calls[call.index][2].append(call.arguments)
        self._logprobs += delta.logprobs
        self._token_ids += delta.token_ids
        self._finish_reason = delta.finish_reason or self._finish_reason

    def result(
        self,
        prompt_ids: Sequence[int],
        prompt_logprobs: Sequence[TokenLogprobs | None] | None,
    ) -> TurnResult:
        content = "".join(self._content)
        calls = [ToolCall(call_id, name, "".join(text)) for call_id, name, text in self._calls]
        return TurnResult(
            content=content if content or not (calls or self._reasoning) else None,
            reasoning="".join(self._reasoning) or None,
            tool_calls=calls,
            logprobs=self._logprobs,
            finish_reason=self._finish_reason,
            token_ids=self._token_ids,
            prompt_ids=prompt_ids,
            prompt_logprobs=prompt_logprobs,
        )
