"""Takes one choice's text apart with the parsers of the model's dialects."""

from __future__ import annotations

from collections.abc import Sequence

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
        parser, ids = self._parser, delta.token_ids
        found: list[Delta] = []
        thinking = parser.in_reasoning
        for place, piece in enumerate(delta.pieces):
            was_thinking = thinking
            if piece:
                news = parser.feed(piece)
                found += news if self._places is None else self._follow(piece, news)
                thinking = parser.in_reasoning
            if (was_thinking or thinking) and place < len(ids):
                self.reasoning_tokens += 1
        reason = delta.finish_reason
        if reason is not None:
            cut = reason == "length"
            found += self._follow("", parser.finish("length" if cut else "stop"))
        deltas = self._turn_deltas(delta.index, found, ids)
        if reason is not None:
            if parser.has_tool_calls and reason == "stop":
                reason = "tool_calls"
            ids, self._token_ids = self._token_ids, []
            deltas.append(
                TurnDelta(
                    delta.index,
                    finish_reason=reason,
                    token_ids=ids,
                    stop_string=delta.stop_string,
                )
            )
        if self._places is not None:
            self._places.hold(delta.logprobs)
            if entries := self._places.release(final=reason is not None):
                self._carry(entries, deltas, delta.index)
        return deltas

    def _follow(self, piece: str, deltas: Sequence[Delta]) -> Sequence[Delta]:
        if self._places is not None:
            self._places.follow(piece, deltas, position=self._parser.position)
        return deltas

    def _turn_deltas(
        self, index: int, found: Sequence[Delta], token_ids: Sequence[int]
    ) -> list[TurnDelta]:
        """The first of them carries all tokens since the last time."""
        ids = [*self._token_ids, *token_ids] if self._token_ids else token_ids
        deltas: list[TurnDelta] = []
        for content, reasoning, calls in found:
            if reasoning:
                if not self._shows_reasoning:
                    continue
                deltas.append(TurnDelta(index, "", reasoning, token_ids=ids))
            elif self.complete:  # what follows the one call that may be made
                continue
            elif content:
                deltas.append(TurnDelta(index, content, token_ids=ids))
            elif kept := self._kept(calls):
                deltas.append(TurnDelta(index, tool_calls=kept, token_ids=ids))
            else:
                continue
            ids = ()
        self._token_ids = list(ids)
        return deltas

    def _kept(self, calls: Sequence[ToolCallDelta]) -> Sequence[ToolCallDelta]:
        if self._parallel:
            return calls
        kept = [call for call in calls if call.index == 0]
        self.complete = len(kept) < len(calls)
        return kept

    def _carry(self, entries: Sequence[PlacedLogprob], deltas: list[TurnDelta], index: int) -> None:
        for place, delta in enumerate(deltas):
            if delta.content or delta.finish_reason is not None:
                deltas[place] = delta._replace(logprobs=entries)
                return
        deltas.append(TurnDelta(index, logprobs=entries))
