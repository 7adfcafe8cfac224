"""How fast /health answers while streams run and megabytes are tokenized.

    python benchmarks/event_loop.py [MODEL] [--streams 32] [--megabytes 1] [--seconds 10] [--json]

Starts `ftllm server`, or asks the one at --url. A process of its own sends GET /health every 10 ms
over one connection; the phases are: nothing else to do, the streams, the streams while prompts of
the given size are tokenized one after the other. Each row also has the streams' tokens/s, and the
time of a prompt.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
from report import percentile, print_report
from running_server import RunningServer

PROBE_SECONDS = 0.01  # between two requests of /health
WORDS = "The keeper of the lighthouse counted ships, birds and visitors; 42 of them in März. "


@dataclass(slots=True)
class Work:
    """What ran beside the probe."""

    tokens: int = 0
    prompts: list[float] = field(default_factory=list)  # seconds


def probe(url: str, seconds: float, results: multiprocessing.SimpleQueue[list[float]]) -> None:
    """Runs in a process of its own, so that it measures the server and not this program."""
    address = urlsplit(url)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=60)
    latencies = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        latencies.append(time.perf_counter() - begin)
        if answer.status != 200:
            raise RuntimeError(f"/health answered {answer.status}")
        time.sleep(PROBE_SECONDS)
    results.put(latencies)


async def measure(url: str, seconds: float) -> list[float]:
    """Latencies of /health in seconds."""
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.SimpleQueue[list[float]] = spawn.SimpleQueue()
    process = spawn.Process(target=probe, args=(url, seconds, results))
    process.start()
    latencies = await asyncio.get_running_loop().run_in_executor(None, results.get)
    process.join()
    return latencies


async def stream(url: str, number: int, work: Work) -> None:
    """Counts events by their bytes: parsing them would take time from the server."""
    address = urlsplit(url)
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": f"Tell story {number}."}],
            "temperature": 1,
            "seed": number,
            "ignore_eos": True,
            "stream": True,
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    while True:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head.encode() + body)
        try:
            while (data := await reader.read(1 << 16)) and b"[DONE]" not in data:
                work.tokens += data.count(b"data: ")
        finally:
            writer.close()


async def large_prompts(url: str, size: int, work: Work) -> None:
    text = (WORDS * (size // len(WORDS) + 1))[:size]
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        while True:
            begin = time.perf_counter()
            answer = await client.post("/v1/completions", json={"prompt": text, "max_tokens": 1})
            if answer.status_code not in (200, 400):
                raise RuntimeError(f"a large prompt got {answer.status_code}: {answer.text[:300]}")
            work.prompts.append(time.perf_counter() - begin)


@asynccontextmanager
async def running(*tasks: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def run(url: str, *, streams: int, size: int, seconds: float) -> list[dict[str, object]]:
    rows = []
    work = Work()

    async def row(phase: str) -> dict[str, object]:
        before, begin = work.tokens, time.perf_counter()
        latencies = await measure(url, seconds)
        rate = (work.tokens - before) / (time.perf_counter() - begin)
        return {
            "beside": phase,
            "requests": len(latencies),
            "p50 ms": _ms(percentile(latencies, 0.5)),
            "p95 ms": _ms(percentile(latencies, 0.95)),
            "p99 ms": _ms(percentile(latencies, 0.99)),
            "worst ms": _ms(max(latencies)),
            "tokens/s": round(rate),
            "s a prompt": round(statistics.median(work.prompts), 2) if work.prompts else "-",
        }

    rows.append(await row("nothing"))
    async with running(*(asyncio.create_task(stream(url, n, work)) for n in range(streams))):
        await asyncio.sleep(2)  # until all decode
        rows.append(await row(f"{streams} streams"))
        async with running(asyncio.create_task(large_prompts(url, size, work))):
            await asyncio.sleep(0.5)
            rows.append(await row(f"{streams} streams, {size / 1e6:g} MB prompts"))
    return rows


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 1)


@contextmanager
def server(options: argparse.Namespace) -> Iterator[str]:
    if options.url is not None:
        yield options.url
        return
    arguments = [options.model] if options.model is not None else []
    if options.threads is not None:
        arguments += ["--threads", str(options.threads)]
    with RunningServer([*arguments, "--tokens", str(options.streams * 1024)]) as started:
        yield started.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", help="a MODEL; default: the default small model")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--seconds", type=float, default=10, help="of each phase")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    size = round(options.megabytes * 1e6)
    with server(options) as url:
        rows = asyncio.run(run(url, streams=options.streams, size=size, seconds=options.seconds))
    print_report("GET /health beside other work", rows, as_json=options.json)


if __name__ == "__main__":
    main()
