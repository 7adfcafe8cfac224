"""Many clients for a long time: no answer wrong or lost, nothing left behind, memory flat.

    python benchmarks/soak.py [MODEL] [--clients 200] [--seconds 300] [-- SERVER OPTIONS]
    python benchmarks/soak.py --url http://127.0.0.1:8080 [--json]

Each client asks one question after the other, streamed or whole, and hangs up on some. Every answer
must be the one that its question got with the server for itself. Exit code 1 when one was not, or
when a terminal event, KV block or descriptor is missing at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import httpx
from report import print_report
from running_server import RunningServer
from server_gauges import Gauges, read_gauges, slope
from serving import served_model, split_arguments
from soak_questions import Answer, Question, ask, make_questions

IDLE_SECONDS = 30  # that the last requests may take to leave
WARM_UP = 1 / 3  # of the time, before memory has to be flat
HANG_UPS = 0.15  # of the requests
STREAMS = 0.6  # of the requests
ANSWER_SECONDS = 300  # for one answer, in a full queue
SERVER_OPTIONS = ("--tokens", "2048")  # so few that cached blocks are evicted


@dataclass(slots=True)
class Soak:
    """What came of it."""

    clients: int
    seconds: float
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)  # answers that were wrong or had no end
    before: Gauges | None = None
    after: Gauges | None = None
    samples: list[tuple[float, Gauges]] = field(default_factory=list)  # seconds since the start

    @property
    def settled(self) -> list[tuple[float, Gauges]]:
        """Samples after warming up."""
        return [each for each in self.samples if each[0] >= WARM_UP * self.seconds]

    @property
    def memory_slope(self) -> float:
        """MiB a minute, after warming up."""
        return slope([(at / 60, gauges.memory / 2**20) for at, gauges in self.settled])

    @property
    def faults(self) -> list[str]:
        """Why it failed, if it did."""
        found = list(self.problems)
        assert self.before is not None
        assert self.after is not None
        for name in ("running", "waiting", "kv_blocks_used"):
            if left := getattr(self.after, name):
                found.append(f"{left:g} {name} at the end")
        if self.after.files > self.before.files:
            found.append(f"{self.before.files:g} descriptors before, {self.after.files:g} after")
        return found

    def row(self) -> dict[str, object]:
        assert self.before is not None
        assert self.after is not None
        settled = [gauges.memory / 2**20 for _, gauges in self.settled]
        return {
            "clients": self.clients,
            "s": round(self.seconds),
            "streams": self.outcomes["streamed"],
            "whole": self.outcomes["whole"],
            "hung up": self.outcomes["hung up"],
            "refused": self.outcomes["refused"],
            "wrong": self.outcomes["wrong"],
            "no end": self.outcomes["no end"],
            "preempted": round(self.after.preemptions - self.before.preemptions),
            "blocks left": round(self.after.kv_blocks_used),
            "files": f"{self.before.files:g} / {self.after.files:g}",
            "RSS MiB": f"{min(settled):.0f} to {max(settled):.0f}",
            "MiB/min": round(self.memory_slope, 2),
        }


async def run(url: str, *, model: str, clients: int, seconds: float) -> Soak:
    """Raises what `httpx` raises when the server cannot be reached before it begins."""
    soak = Soak(clients, seconds)
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, limits=limits) as client:
        questions = await make_questions(client, model)
        expected = {question: await ask(client, question) for question in questions}
    soak.before = await _until_idle(url)
    started = time.monotonic()
    watch = asyncio.create_task(_watch(url, soak, started))
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, limits=limits) as client:
        workers = [
            _client(client, soak, expected, number=number, end=started + seconds)
            for number in range(clients)
        ]
        await asyncio.gather(*workers)
    watch.cancel()
    gc.collect()  # this process's ends of connections whose opening was cancelled
    soak.after = await _until_idle(url, files=soak.before.files)
    return soak


async def _client(
    client: httpx.AsyncClient,
    soak: Soak,
    expected: Mapping[Question, Answer],
    *,
    number: int,
    end: float,
) -> None:
    draw = random.Random(number)
    questions = list(expected)
    while time.monotonic() < end:
        question = draw.choice(questions)
        hangs_up = draw.random() < HANG_UPS
        stream = draw.random() < STREAMS
        answer = await _one(client, question, draw, stream=stream, hangs_up=hangs_up)
        if answer.kind in ("streamed", "whole") and answer.content != expected[question].content:
            answer = replace(answer, kind="wrong", why=f"{answer.content}")
        soak.outcomes[answer.kind] += 1
        if answer.kind in ("wrong", "no end"):
            soak.problems.append(f"{question.body}: {answer.why}")


async def _one(
    client: httpx.AsyncClient,
    question: Question,
    draw: random.Random,
    *,
    stream: bool,
    hangs_up: bool,
) -> Answer:
    """Who hangs up on a whole answer does so after a while, whether it has come or not."""
    patience = draw.uniform(0.01, 2) if hangs_up and not stream else None
    events = draw.randrange(6) if hangs_up and stream else None
    try:
        asked = ask(client, question, stream=stream, hangs_up_after=events)
        return await asyncio.wait_for(asked, patience)
    except asyncio.TimeoutError:
        return Answer("hung up")
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Answer("no end", why=repr(error))


async def _watch(url: str, soak: Soak, started: float) -> None:
    while True:
        gauges = await read_gauges(url)
        soak.samples.append((time.monotonic() - started, gauges))
        await asyncio.sleep(1)


async def _until_idle(url: str, *, files: float = math.inf) -> Gauges:
    """The gauges when nothing is left and no more than `files` are open, or when there has been
    the time for it."""
    deadline = time.monotonic() + IDLE_SECONDS
    while True:
        await asyncio.sleep(0.2)
        gauges = await read_gauges(url)
        left = gauges.running + gauges.waiting + gauges.kv_blocks_used
        if (not left and gauges.files <= files) or time.monotonic() > deadline:
            return gauges


def main() -> None:
    own, server_options = split_arguments(sys.argv[1:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("server_model", nargs="?", metavar="MODEL", default="smollm2-135m")
    parser.add_argument("--url", help="a running server's address, without /v1")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(own)
    with ExitStack() as stack:
        url = options.url
        if url is None:
            arguments = [options.server_model, *SERVER_OPTIONS, *server_options]
            url = stack.enter_context(RunningServer(arguments)).url
        model = served_model(url)
        soak = asyncio.run(run(url, model=model, clients=options.clients, seconds=options.seconds))
    title = f"{model}: {options.clients} clients for {options.seconds:g} s"
    print_report(title, [soak.row()], as_json=options.json, notes=soak.faults[:20])
    raise SystemExit(1 if soak.faults else 0)


if __name__ == "__main__":
    main()
