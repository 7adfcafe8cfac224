"""An answer as a row of blocks, each of thinking, text or one call, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ftllm.server.aligned_logprobs import PlacedLogprob
from ftllm.server.turn_answer import TurnAnswer, TurnDelta

BlockKind = Literal["thinking", "text", "call"]


@dataclass(slots=True)
class Block:
    """`pieces` grow while the answer comes; of a call they are its arguments in JSON."""

    index: int
    kind: BlockKind
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    logprobs: list[PlacedLogprob] = field(default_factory=list)  # of a text's tokens

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class BlockEvent:
    """What happens to a block: it starts, grows by `text`, or ends."""

    step: Literal["start", "grow", "end"]
    block: Block
    text: str = ""
    logprobs: Sequence[PlacedLogprob] = ()


class AnswerBlocks:
    """Sorts the deltas of an answer of one choice into blocks."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.finish_reason = ""
        self.stop_string: str | None = None
        self.is_over = False  # nothing comes any more; without a finish reason, it was broken off
        self._is_open = False

    async def collect(self, answer: TurnAnswer) -> None:
        """Runs the answer to its end, and closes it."""
        try:
            while deltas := await answer.next_deltas():
                for delta in deltas:
                    self.read(delta)
        finally:
            answer.close()
            self.is_over = True

    def read(self, delta: TurnDelta) -> list[BlockEvent]:
        """What the delta brings. The last one, with the finish reason, ends the last block."""
        events: list[BlockEvent] = []
        if delta.reasoning:
            self._grow("thinking", delta.reasoning, (), events)
        elif delta.content or (delta.logprobs and self._is_in("text")):
            self._grow("text", delta.content, delta.logprobs, events)
        for call in delta.tool_calls:
            if call.id is not None:
                self._start("call", events, call_id=call.id, name=call.name or "")
            if call.arguments:
                self._grow("call", call.arguments, (), events)
        if delta.finish_reason is not None:
            self._end(events)
            self.is_over = True
            self.finish_reason = delta.finish_reason
            self.stop_string = delta.stop_string
        return events

    def _is_in(self, kind: BlockKind) -> bool:
        return self._is_open and self.blocks[-1].kind == kind

    def _grow(
        self,
        kind: BlockKind,
        text: str,
        logprobs: Sequence[PlacedLogprob],
        events: list[BlockEvent],
    ) -> None:
        if not self._is_in(kind):
            self._start(kind, events)
        block = self.blocks[-1]
        block.pieces.append(text)
        block.logprobs += logprobs
        events.append(BlockEvent("grow", block, text, logprobs))

    def _start(
        self, kind: BlockKind, events: list[BlockEvent], *, call_id: str = "", name: str = ""
    ) -> None:
        self._end(events)
        self.blocks.append(Block(len(self.blocks), kind, call_id, name))
        self._is_open = True
        events.append(BlockEvent("start", self.blocks[-1]))

    def _end(self, events: list[BlockEvent]) -> None:
        if self._is_open:
            events.append(BlockEvent("end", self.blocks[-1]))
        self._is_open = False
