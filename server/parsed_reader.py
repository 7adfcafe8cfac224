"""Takes one choice's text apart with the parsers of the model's dialects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.choice_stream import ChoiceDelta
from ftllm.server.content_places import ContentPlaces
from ftllm.server.turn_answer import TurnDelta
from ftllm.tool_parsers import Delta, OutputParser, ToolCallDelta


class ParsedReader:
    """Turns text into content, thinking and calls. Without `parallel` the answer is complete once
    a second call begins; without `shows_reasoning` thinking is counted, but left out."""

    may_lack_content = True

    def __init__(
        self, parser: OutputParser, *, parallel: bool, shows_reasoning: bool, with_logprobs: bool
    ) -> None:
        self._parser = parser
        self._parallel = parallel
        self._shows_reasoning = shows_reasoning
        self._places = ContentPlaces() if with_logprobs else None
        self._token_ids: list[int] = []  # that no delta has carried yet
        self.reasoning_tokens = 0
        self.complete = False

    def read(self, delta: ChoiceDelta) -> list[TurnDelta]:
        found: list[Delta] = []
        for place, piece in enumerate(delta.pieces):
            was_thinking = self._parser.in_reasoning
            if piece:
                found += self._follow(piece, self._parser.feed(piece))
            if place < len(delta.token_ids) and (was_thinking or self._parser.in_reasoning):
                self.reasoning_tokens += 1
        reason = delta.finish_reason
        if reason is not None:
            cut = reason == "length"
            found += self._follow("", self._parser.finish("length" if cut else "stop"))
        deltas = [turned for each in found if (turned := self._turn_delta(delta.index, each))]
        if reason is not None:
            reason = "tool_calls" if self._parser.has_tool_calls and reason == "stop" else reason
            deltas.append(TurnDelta(delta.index, finish_reason=reason))
        return self._with_tokens(deltas, delta, final=reason is not None)

    def _follow(self, piece: str, deltas: Sequence[Delta]) -> Sequence[Delta]:
        if self._places is not None:
            self._places.follow(piece, deltas, position=self._parser.position)
        return deltas

    def _turn_delta(self, index: int, delta: Delta) -> TurnDelta | None:
        if delta.reasoning:
            if self._shows_reasoning:
                return TurnDelta(index, reasoning=delta.reasoning)
        elif self.complete:  # what follows the one call that may be made
            return None
        elif delta.content:
            return TurnDelta(index, content=delta.content)
        elif calls := self._kept(delta.tool_calls):
            return TurnDelta(index, tool_calls=calls)
        return None

    def _kept(self, calls: Sequence[ToolCallDelta]) -> Sequence[ToolCallDelta]:
        if self._parallel:
            return calls
        kept = [call for call in calls if call.index == 0]
        self.complete = len(kept) < len(calls)
        return kept

    def _with_tokens(
        self, deltas: list[TurnDelta], delta: ChoiceDelta, *, final: bool
    ) -> list[TurnDelta]:
        """The first delta carries the tokens, the first with content the log-probabilities."""
        self._token_ids += delta.token_ids
        if deltas and self._token_ids:
            deltas[0] = replace(deltas[0], token_ids=self._token_ids)
            self._token_ids = []
        if self._places is None:
            return deltas
        self._places.hold(delta.logprobs)
        entries = self._places.release(final=final)
        if entries:
            self._carry(entries, deltas, delta.index)
        return deltas

    def _carry(self, entries: Sequence[PlacedLogprob], deltas: list[TurnDelta], index: int) -> None:
        for place, delta in enumerate(deltas):
            if delta.content or delta.finish_reason is not None:
                deltas[place] = replace(delta, logprobs=entries)
                return
        deltas.append(TurnDelta(index, logprobs=entries))
