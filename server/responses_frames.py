"""The events of a streamed response, numbered in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from ftllm.server.answer_blocks import AnswerBlocks, Block, BlockEvent
from ftllm.server.errors import ErrorReply
from ftllm.server.json_text import encode_json
from ftllm.server.responses_answer import ResponsesAnswer
from ftllm.server.turn_answer import TurnAnswer

_DELTAS = {
    "text": "response.output_text.delta",
    "thinking": "response.reasoning_text.delta",
    "call": "response.function_call_arguments.delta",
}


class ResponseFrames:
    """Writes the stream of one response."""

    def __init__(self, answer: ResponsesAnswer) -> None:
        self.blocks = AnswerBlocks()  # of which the answer consists so far
        self._answer = answer
        self._number = 0

    async def frames(
        self, turn: TurnAnswer, keep: Callable[[dict[str, object]], None]
    ) -> AsyncIterator[bytes]:
        """`keep` gets the whole response before its last event is sent."""
        blocks = self.blocks
        response: dict[str, object] = {"response": self._answer.running()}
        first = self._event("response.created", response)
        yield (first + self._event("response.in_progress", response)).encode()
        while deltas := await turn.next_deltas():
            frames = ""
            for delta in deltas:
                for event in blocks.read(delta):
                    frames += self._block(event, blocks)
            if frames:
                yield frames.encode()
        whole = self._answer.ended(blocks, turn.usage)
        keep(whole)
        yield self._event(f"response.{whole['status']}", {"response": whole}).encode()

    def failure(self, reply: ErrorReply) -> bytes:
        """The last event of a stream that failed."""
        failed = self._answer.failed(reply)
        return self._event("response.failed", {"response": failed}).encode()

    def _block(self, event: BlockEvent, blocks: AnswerBlocks) -> str:
        if event.step == "grow":
            return self._delta(event)
        if event.step == "start":
            return self._start(event.block)
        return self._end(event.block, status=self._answer.ending(event.block, blocks))

    def _delta(self, event: BlockEvent) -> str:
        """The usual event, so it is put together by hand."""
        block, kind = event.block, _DELTAS[event.block.kind]
        place = "" if block.kind == "call" else '"content_index":0,'
        logprobs = ""
        if block.kind == "text":
            entries = self._answer.logprobs(event.logprobs) if event.logprobs else []
            logprobs = f',"logprobs":{encode_json(entries) if entries else "[]"}'
        number, self._number = self._number, self._number + 1
        return (
            f'event: {kind}\ndata: {{"type":"{kind}","sequence_number":{number},'
            f'"item_id":"{self._answer.item_id(block)}","output_index":{block.index},'
            f'{place}"delta":{encode_json(event.text)}{logprobs}}}\n\n'
        )

    def _start(self, block: Block) -> str:
        item = self._answer.item(block, "in_progress")
        added: dict[str, object] = {"output_index": block.index, "item": item}
        frames = self._event("response.output_item.added", added)
        if block.kind == "call":
            return frames
        part = self._answer.part(block, empty=True)
        return frames + self._event("response.content_part.added", self._in_part(block, part=part))

    def _end(self, block: Block, *, status: str) -> str:
        if block.kind == "call":
            done: dict[str, object] = {
                "item_id": self._answer.item_id(block),
                "output_index": block.index,
                "name": block.name,
                "arguments": block.text,
            }
            frames = self._event("response.function_call_arguments.done", done)
        else:
            part = self._answer.part(block)
            done = self._in_part(block, text=block.text)
            kind = "response.reasoning_text.done"
            if block.kind == "text":
                kind = "response.output_text.done"
                done["logprobs"] = part["logprobs"]
            frames = self._event(kind, done)
            frames += self._event("response.content_part.done", self._in_part(block, part=part))
        item = self._answer.item(block, status)
        ended: dict[str, object] = {"output_index": block.index, "item": item}
        return frames + self._event("response.output_item.done", ended)

    def _in_part(
        self, block: Block, *, part: object = None, text: str | None = None
    ) -> dict[str, object]:
        fields: dict[str, object] = {
            "item_id": self._answer.item_id(block),
            "output_index": block.index,
            "content_index": 0,
        }
        return {**fields, "part": part} if text is None else {**fields, "text": text}

    def _event(self, kind: str, fields: dict[str, object]) -> str:
        number, self._number = self._number, self._number + 1
        body = {"type": kind, "sequence_number": number, **fields}
        return f"event: {kind}\ndata: {encode_json(body)}\n\n"
