"""Many streaming clients against a server: time to first token, gaps between tokens, tokens/s.

    python benchmarks/serving.py [MODEL] [--clients 8] [--requests 16] [-- SERVER OPTIONS]
    python benchmarks/serving.py --url http://127.0.0.1:8080 [--json]

Starts `ftllm server` for MODEL and ends it, unless --url names a server with OpenAI's
/v1/completions. Each client sends its next request when its last answer is complete.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import httpx
from report import percentile, print_report
from running_server import RunningServer

TIMEOUT = 600  # seconds for one answer
_TEXT = (
    "the river light a small house green morning every walks quiet story under seven open road "
    "and water old garden with far stone window over many people never long winter into music "
    "bright table from paper north city between hand field"
)
_WORDS = _TEXT.split()


@dataclass(slots=True)
class Answer:
    """Times are `time.perf_counter()` seconds; a frame without text is no token's arrival."""

    sent: float
    frames: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What all clients together ask for."""

    model: str
    clients: int
    requests: int
    prompt_words: int
    max_tokens: int


async def complete(client: httpx.AsyncClient, load: Load, prompt: str) -> Answer:
    """Raises `RuntimeError` when the server answers anything but a whole stream."""
    body = {
        "model": load.model,
        "prompt": prompt,
        "max_tokens": load.max_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer = Answer(sent=time.perf_counter())
    async with client.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise RuntimeError((await response.aread()).decode(errors="replace"))
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            frame = json.loads(line[6:])
            if any(choice["text"] for choice in frame["choices"]):
                answer.frames.append(time.perf_counter())
            usage = frame.get("usage")
            if usage is not None:
                answer.prompt_tokens = usage["prompt_tokens"]
                answer.output_tokens = usage["completion_tokens"]
    if not answer.frames or answer.output_tokens != load.max_tokens:
        raise RuntimeError(f"An answer has {answer.output_tokens} tokens.")
    return answer


async def run(url: str, load: Load) -> tuple[list[Answer], float]:
    """All answers, and the seconds that they took together."""
    draw = random.Random(1)
    # The number in front keeps one prompt from being the beginning of another.
    prompts = [
        f"{number} " + " ".join(draw.choices(_WORDS, k=load.prompt_words))
        for number in range(load.requests)
    ]
    answers: list[Answer] = []

    async def serve_client(client: httpx.AsyncClient) -> None:
        while prompts:
            answers.append(await complete(client, load, prompts.pop()))

    limits = httpx.Limits(max_connections=load.clients)
    async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits) as client:
        warm_up = Load(load.model, 1, 1, 8, 4)
        await complete(client, warm_up, "Warm up: " + " ".join(_WORDS[:8]))
        begin = time.perf_counter()
        await asyncio.gather(*(serve_client(client) for _ in range(load.clients)))
        return answers, time.perf_counter() - begin


def row(answers: list[Answer], seconds: float, load: Load) -> dict[str, object]:
    first = [1e3 * (answer.frames[0] - answer.sent) for answer in answers]
    gaps = [1e3 * (b - a) for answer in answers for a, b in pairwise(answer.frames)]
    prompt_tokens = sum(answer.prompt_tokens for answer in answers)
    return {
        "clients": load.clients,
        "requests": len(answers),
        "tokens in": round(prompt_tokens / len(answers)),
        "tokens out": load.max_tokens,
        "tokens/s": round(sum(answer.output_tokens for answer in answers) / seconds, 1),
        "TTFT p50 ms": round(percentile(first, 0.5), 1),
        "TTFT p95 ms": round(percentile(first, 0.95), 1),
        "ITL p50 ms": round(percentile(gaps, 0.5), 1),
        "ITL p95 ms": round(percentile(gaps, 0.95), 1),
        "ITL max ms": round(max(gaps), 1),
    }


def served_model(url: str) -> str:
    models = httpx.get(f"{url}/v1/models", timeout=10).raise_for_status().json()
    return str(models["data"][0]["id"])


def main() -> None:
    own, server_options = split_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("server_model", nargs="?", metavar="MODEL", default="smollm2-135m")
    parser.add_argument("--url", help="a running server's address, without /v1")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=16, help="of all clients together")
    parser.add_argument("--prompt_words", type=int, default=200)
    parser.add_argument("--max_tokens", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(own)
    with ExitStack() as stack:
        url = options.url
        if url is None:
            server = RunningServer([options.server_model, *server_options])
            url = stack.enter_context(server).url
        load = Load(
            served_model(url),
            options.clients,
            options.requests,
            options.prompt_words,
            options.max_tokens,
        )
        answers, seconds = asyncio.run(run(url, load))
    title = f"{load.model}: {load.clients} streaming clients"
    print_report(title, [row(answers, seconds, load)], as_json=options.json)


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after "--"."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    main()
