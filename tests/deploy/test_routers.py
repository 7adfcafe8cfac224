"""Two real servers behind real routers, smg and vllm-router, as they come from the package index.

What they ask a server for was found by reading along; the servers have their default options.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from conversations import Workload, converse, prefix_tokens
from openai import OpenAI
from running_router import PROGRAMS, RunningRouter, free_port, router_command
from running_server import RunningServer
from steady_load import SteadyLoad

from .answers import check_answers

MODEL = "smollm2-135m"
# A cache for a bit more than half of the conversations, so that no replica can hold them all.
OPTIONS = ("--threads", "1", "--tokens", "2048", "--max_model_len", "1024", "--max_batch", "8")
NOTICE_SECONDS = 60  # for a router to see that a replica has gone or is back; the machine is busy
LOAD_SECONDS = 240

pytestmark = pytest.mark.e2e


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if router_command(name) is None:
        pytest.skip(f"{name} is not there: pip install '.[deploy-test]'")
    return name


@pytest.fixture(scope="module")
def replicas(
    model_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """URLs of two servers that stay."""
    if not any(router_command(name) for name in PROGRAMS):
        pytest.skip("no router is there: pip install '.[deploy-test]'")
    model_file(MODEL)
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        yield [
            stack.enter_context(RunningServer([MODEL, *OPTIONS], log=folder / f"{number}.log")).url
            for number in range(2)
        ]


def ask(router: RunningRouter, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(router.url + path, timeout=30, trust_env=False).json()
    return answer


def capacities(router: RunningRouter) -> list[int]:
    """Of the replicas' KV caches in tokens, as far as they have told smg."""
    return [entry["max_total_num_tokens"] for entry in ask(router, "/get_loads")["loads"]]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {NOTICE_SECONDS} s"
        time.sleep(0.2)


def test_discovery_load_and_answers(program: str, replicas: list[str], tmp_path: Path) -> None:
    with RunningRouter(program, replicas, log=tmp_path / "router.log") as router:
        if program == "smg":
            workers = ask(router, "/workers")["workers"]
            assert {worker["model_id"] for worker in workers} == {MODEL}
            wait_until(lambda: capacities(router) == [2048, 2048])
        else:
            loads = ask(router, "/get_loads")["workers"]
            assert [worker["load"] for worker in loads] == [0, 0]  # -1 = not told
        client = OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0, timeout=120)
        assert [model.id for model in client.models.list()] == [MODEL]
        check_answers(router.url, model=MODEL)


def test_cache_aware_routing_finds_more_prefixes(
    program: str, replicas: list[str], tmp_path: Path
) -> None:
    """At least 1.5 times the share of cached tokens that round robin gives."""
    rates = {}
    for policy in ("round_robin", "cache_aware"):
        for replica in replicas:
            httpx.post(f"{replica}/reset_prefix_cache", trust_env=False).raise_for_status()
        before = [prefix_tokens(replica) for replica in replicas]
        with RunningRouter(program, replicas, log=tmp_path / "log", policy=policy) as router:
            outcome = converse(router.url, Workload(), model=MODEL)
        counted = [
            (new[0] - old[0], new[1] - old[1])
            for old, new in zip(before, map(prefix_tokens, replicas), strict=True)
        ]
        assert sum(hits for _, hits in counted) == outcome.cached_tokens
        assert min(queries for queries, _ in counted) > 0.2 * outcome.prompt_tokens
        rates[policy] = outcome.hit_rate
    print(program, rates)
    assert rates["cache_aware"] >= 1.5 * rates["round_robin"], rates


def test_a_killed_replica_costs_only_what_it_had_begun(
    program: str, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    model_file(MODEL)
    with ExitStack() as stack:
        servers = [
            stack.enter_context(RunningServer([MODEL, *OPTIONS], log=tmp_path / f"{number}.log"))
            for number in range(2)
        ]
        urls = [server.url for server in servers]
        router = stack.enter_context(RunningRouter(program, urls, log=tmp_path / "router.log"))
        with SteadyLoad(router.url, model=MODEL, clients=6) as load:
            load.wait_for(12, seconds=LOAD_SECONDS)
            servers[0].send_signal(signal.SIGKILL)
            load.wait_for(24, seconds=LOAD_SECONDS)
            router.wait_for_replicas(1, seconds=NOTICE_SECONDS)
        assert [failure for failure in load.failures if not failure.started] == []
        assert len(load.failures) <= 6  # streams that had begun
        assert load.completed >= 30


def test_a_rolling_restart_fails_no_request(
    program: str, model_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """SIGTERM to one replica after the other while requests go on, half of them streams."""
    model_file(MODEL)
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(
                RunningServer([MODEL, *OPTIONS], log=tmp_path / f"{port}.log", port=port)
            )
            for port in ports
        ]
        urls = [server.url for server in servers]
        router = stack.enter_context(RunningRouter(program, urls, log=tmp_path / "router.log"))
        with SteadyLoad(router.url, model=MODEL, clients=6) as load:
            load.wait_for(12, seconds=LOAD_SECONDS)
            for server, port in zip(servers, ports, strict=True):
                assert server.stop() == 0, server.log()[-2000:]
                log = tmp_path / f"{port}-again.log"
                stack.enter_context(RunningServer([MODEL, *OPTIONS], log=log, port=port))
                router.wait_for_replicas(2, seconds=NOTICE_SECONDS)
                load.wait_for(12, seconds=LOAD_SECONDS)
        assert load.failures == []
        assert load.completed >= 36
