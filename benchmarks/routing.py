"""How much of their prompts replicas find in their caches, by who hands out the requests.

    python benchmarks/routing.py [MODEL] [--through smg vllm-router ray] [--json]

Two replicas on this machine serve conversations of several turns, whose KV cache together is too
small in one replica. Each router serves them twice: in turns, and by cached prefixes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
from conversations import Outcome, Workload, converse
from report import print_report
from running_ray import RunningRay, has_ray
from running_router import PROGRAMS, RunningRouter, router_command
from running_server import RunningServer

RAY = "ray"
ROUND_ROBIN = "ray.serve.experimental.round_robin_router.RoundRobinRouter"
POLICIES = {"in turns": "round_robin", "by prefix": "cache_aware"}
SERVED_NAME = "model"
REPLICAS = 2


def through_router(
    program: str, replicas: Sequence[str], workload: Workload, folder: Path
) -> Iterator[tuple[str, Outcome]]:
    for policy, name in POLICIES.items():
        for replica in replicas:
            httpx.post(f"{replica}/reset_prefix_cache", trust_env=False).raise_for_status()
        log = folder / f"{program}.log"
        with RunningRouter(program, replicas, log=log, policy=name) as router:
            yield policy, converse(router.url, workload, model=SERVED_NAME)


def through_ray(
    options: argparse.Namespace, workload: Workload, folder: Path
) -> Iterator[tuple[str, Outcome]]:
    arguments = {
        "model": options.model,
        "model_name": SERVED_NAME,
        "num_replicas": REPLICAS,
        "num_cpus": 0.5,
        "threads": options.threads,
        "tokens": options.tokens,
        "max_model_len": options.tokens,
    }
    for policy, extra in (("in turns", {"request_router": ROUND_ROBIN}), ("by prefix", {})):
        with RunningRay({RAY: arguments | extra}, folder=folder) as ray:
            yield policy, converse(ray.url_of(RAY), workload, model=SERVED_NAME)


def row(router: str, policy: str, outcome: Outcome) -> dict[str, object]:
    return {
        "router": router,
        "requests go": policy,
        "requests": outcome.requests,
        "prompt tokens": outcome.prompt_tokens,
        "cached, %": round(100 * outcome.hit_rate, 1),
        "seconds": round(outcome.seconds, 1),
    }


def measure(options: argparse.Namespace, workload: Workload) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    programs = [each for each in options.through if each != RAY]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftllm-routing-")))
        if programs:
            limits = ["--threads", str(options.threads), "--tokens", str(options.tokens)]
            limits += ["--max_model_len", str(options.tokens), "--model_name", SERVED_NAME]
            servers = [
                stack.enter_context(
                    RunningServer([options.model, *limits], log=folder / f"{number}.log")
                )
                for number in range(REPLICAS)
            ]
            replicas = [server.url for server in servers]
            for program in programs:
                for policy, outcome in through_router(program, replicas, workload, folder):
                    rows.append(row(program, policy, outcome))
            for server in servers:
                server.stop()
        if RAY in options.through:
            for policy, outcome in through_ray(options, workload, folder):
                rows.append(row(RAY, policy, outcome))
    return rows


def main() -> None:
    there = [name for name in PROGRAMS if router_command(name)]
    there += [RAY] if has_ray() else []
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--through", nargs="+", choices=[*PROGRAMS, RAY], default=there)
    parser.add_argument("--conversations", type=int, default=Workload.conversations)
    parser.add_argument("--turns", type=int, default=Workload.turns)
    parser.add_argument("--first_words", type=int, default=Workload.first_words)
    parser.add_argument("--turn_words", type=int, default=Workload.turn_words)
    parser.add_argument("--clients", type=int, default=Workload.clients)
    parser.add_argument("--tokens", type=int, default=2048, help="KV cache of each replica")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    workload = Workload(
        conversations=options.conversations,
        turns=options.turns,
        first_words=options.first_words,
        turn_words=options.turn_words,
        clients=options.clients,
    )
    print_report(
        "Prompts found in the caches of two replicas",
        measure(options, workload),
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
