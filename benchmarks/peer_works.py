"""What engines are asked for, and how a figure comes from the times of the tokens."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peer_worker import Worker

PREFILL_TOKENS = 512
DECODE_TOKENS = 128
STREAM_TOKENS = 32  # that each stream decodes
DEPTH_TOKENS = 32
PROMPT_TOKENS = 16  # before a decode
PROMPT_IDS = (1000, 20_000)  # ordinary tokens of every vocabulary
WORKS = ("prefill", "decode", "streams", "depth", "start", "rss")

Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Sizes:
    streams: tuple[int, ...]
    depth: int  # tokens of context


@dataclass(frozen=True, slots=True)
class Work:
    """`measure` gives tokens/s of one run."""

    name: str
    label: str
    streams: int
    prompt_tokens: int
    measure: Callable[[Worker, Prompts], float]
    same_prompt: bool = False  # in all rounds, so that its KV cache is there after the first

    def prompts(self, draw: random.Random) -> list[list[int]]:
        return [random_prompt(draw, self.prompt_tokens) for _ in range(self.streams)]


def random_prompt(draw: random.Random, tokens: int) -> list[int]:
    return [draw.randrange(*PROMPT_IDS) for _ in range(tokens)]


def works_of(names: Sequence[str], sizes: Sizes) -> list[Work]:
    """Those of `names` that a loaded model is asked for."""
    works: list[Work] = []
    for name in names:
        if name == "prefill":
            works.append(
                Work(name, f"prefill {PREFILL_TOKENS}, tokens/s", 1, PREFILL_TOKENS, _prefill)
            )
        elif name == "decode":
            works.append(Work(name, f"decode {DECODE_TOKENS}, tokens/s", 1, PROMPT_TOKENS, _decode))
        elif name == "depth":
            label = f"decode at {sizes.depth} tokens, tokens/s"
            works.append(Work(name, label, 1, sizes.depth, _decode_deep, same_prompt=True))
        elif name == "streams":
            works += [
                Work(f"{n} streams", f"decode {n} streams, tokens/s", n, PROMPT_TOKENS, _streams)
                for n in sizes.streams
            ]
    return works


def _prefill(worker: Worker, prompts: Prompts) -> float:
    ((first,),) = worker.generate(prompts, 1)
    return len(prompts[0]) / first


def _decode(worker: Worker, prompts: Prompts) -> float:
    return decode_rate(worker.generate(prompts, DECODE_TOKENS + 1))


def _streams(worker: Worker, prompts: Prompts) -> float:
    return decode_rate(worker.generate(prompts, STREAM_TOKENS + 1))


def _decode_deep(worker: Worker, prompts: Prompts) -> float:
    return decode_rate(worker.generate(prompts, DEPTH_TOKENS + 1, keep=True))


def decode_rate(times: Sequence[Sequence[float]]) -> float:
    """Tokens/s of all streams together while all decode: from the last first token to the first
    last one."""
    begin = max(stream[0] for stream in times)
    end = min(stream[-1] for stream in times)
    tokens = sum(sum(begin < time <= end for time in stream) for stream in times)
    if end <= begin:
        raise ValueError("the streams did not decode together")
    return tokens / (end - begin)
