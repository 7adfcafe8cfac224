"""What a streamed token costs between the engine and the socket.

    python benchmarks/answer_stream.py [--tokens 4000] [--json]

Feeds the tokens of made-up answers, one a step, through everything that a stream of
/v1/chat/completions goes through: detokenizer, parsers of thinking and calls, JSON
frames. No engine, no socket. Processor time of the best of some runs, so that other work beside it
counts little; the share of a core is that of a stream of 2,000 tokens/s.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import tokenizers
from report import print_report
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishedEvent, FinishReason, Request, TokensEvent
from ftllm.server.answer_details import AnswerDetails
from ftllm.server.answer_frames import AnswerHead
from ftllm.server.chat_answer import ChatAnswer
from ftllm.server.choice_stream import ChoiceDelta, ChoicePlan, ChoiceStream
from ftllm.server.generation import Usage
from ftllm.server.parsed_reader import ParsedReader
from ftllm.server.prompts import Prompt
from ftllm.server.turn_answer import AnswerReader, PlainReader, TurnAnswer
from ftllm.text.tokenizer import SpecialTokens, Tokenizer
from ftllm.text.vocabulary import Spelling, Vocabulary, byte_alphabet
from ftllm.tool_parsers import OutputParser

RATE = 2000  # tokens/s
REPEATS = 12
WORDS = ["the", "keeper", "of", "a", "lighthouse", "counted", "ships", ",", "birds", "in", "März"]
# (what is measured, what stands before the words, whether it is parsed)
ANSWERS = (
    ("content, not parsed", "", False),
    ("content", "", True),
    ("thinking", "<think>", True),
    ("arguments of a call", '<tool_call>\n{"name": "write", "arguments": {"text": "', True),
)
TOOL = {"type": "function", "function": {"name": "write", "parameters": {"type": "object"}}}


def word_tokenizer() -> Tokenizer:
    """Bytes, then words with a space in front."""
    alphabet = byte_alphabet()
    backend = tokenizers.Tokenizer(
        BPE(vocab={character: byte for byte, character in alphabet.items()}, merges=[])
    )
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    words = ["".join(alphabet[byte] for byte in f" {word}".encode()) for word in WORDS]
    pieces = [*(alphabet[byte] for byte in range(256)), *words]
    vocabulary = Vocabulary(pieces, spelling=Spelling.BYTE_LEVEL, literal_ids=set())
    return Tokenizer(backend, vocabulary, SpecialTokens())


class Tokens:
    """A generation whose tokens are all there: one step after the other."""

    def __init__(self, tokenizer: Tokenizer, ids: list[int]) -> None:
        request = Request(request_id="r", prompt_ids=(65,), params=SamplingParams())
        self._stream = ChoiceStream(ChoicePlan(0, request, Prompt((65,)), ()), tokenizer)
        finished = FinishedEvent("r", FinishReason.STOP, 1, 0, len(ids))
        steps = [TokensEvent("r", (token_id,), None) for token_id in ids]
        self._events = iter([*steps, finished])
        self.usage = Usage(1, 0, len(ids))

    async def next_deltas(self) -> list[ChoiceDelta]:
        for event in self._events:
            if deltas := self._stream.feed([event]):
                return deltas
        return []

    def stop(self, place: int) -> None:
        raise AssertionError("these answers are never stopped")


def measure(tokenizer: Tokenizer, start: str, *, parses: bool, count: int) -> tuple[float, float]:
    """Microseconds and bytes for each token."""
    words = [256 + number % len(WORDS) for number in range(count)]
    generation = Tokens(tokenizer, [*start.encode(), *words])
    reader: AnswerReader = PlainReader()
    if parses:
        parser = OutputParser(tools=[TOOL], tool_dialect="hermes", reasoning_dialect="qwen3")
        reader = ParsedReader(parser, parallel=True, shows_reasoning=True, with_logprobs=False)
    running = TurnAnswer(generation, [reader])  # type: ignore[arg-type]
    answer = ChatAnswer(AnswerHead("chatcmpl-1", 0, "m"), tokenizer, AnswerDetails())

    async def drain() -> int:
        size = 0
        async for frame in answer.frames(running, n=1):
            size += len(frame)
        return size

    begin = time.process_time()
    size = asyncio.run(drain())
    return 1e6 * (time.process_time() - begin) / count, size / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tokenizer = word_tokenizer()
    rows = []
    for name, start, parses in ANSWERS:
        runs = [
            measure(tokenizer, start, parses=parses, count=options.tokens) for _ in range(REPEATS)
        ]
        micros, size = min(runs)
        rows.append(
            {
                "answer": name,
                "µs a token": round(micros, 2),
                f"% of a core at {RATE}/s": round(micros * RATE / 1e4, 2),
                "bytes a token": round(size),
            }
        )
    print_report("A streamed token, from its id to its frame", rows, as_json=options.json)


if __name__ == "__main__":
    main()
