"""ftllm on a real Ray Serve: two replicas of the default model on this machine."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conversations import Workload, converse
from running_ray import RunningRay, has_ray
from steady_load import SteadyLoad

from .answers import check_answers

MODEL = "smollm2-135m"
ROUND_ROBIN = "ray.serve.experimental.round_robin_router.RoundRobinRouter"
# A cache for a bit more than half of the conversations, so that no replica can hold them all.
ARGUMENTS = {
    "model": MODEL,
    "num_replicas": 2,
    "num_cpus": 0.15,
    "threads": 1,
    "tokens": 2048,
    "max_model_len": 1024,
    "max_batch": 8,
}
NOTICE_SECONDS = 240  # until Ray has replaced a replica; the machine is busy
LOAD_SECONDS = 240

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def ray(
    model_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningRay]:
    if not has_ray():
        pytest.skip("Ray Serve is not there: pip install '.[deploy-test]'")
    model_file(MODEL)
    scaled = {name: value for name, value in ARGUMENTS.items() if name != "num_replicas"}
    scaled |= {"max_replicas": 2, "target_ongoing_requests": 2, "upscale_delay_s": 1}
    applications = {
        "prefix": ARGUMENTS,
        "turns": {**ARGUMENTS, "request_router": ROUND_ROBIN},
        "scaled": scaled,
    }
    with RunningRay(applications, folder=tmp_path_factory.mktemp("ray")) as running:
        yield running


def counted(url: str, name: str) -> float:
    """The largest value of a metric that a few scrapes see; each is of some replica."""
    found = [0.0]
    for _ in range(12):
        text = httpx.get(f"{url}/metrics", timeout=60, trust_env=False).text
        found += map(float, re.findall(rf"^ftllm:{name} (\S+)$", text, re.M))
    return max(found)


def test_answers_and_streams(ray: RunningRay) -> None:
    check_answers(ray.url_of("prefix"), model=MODEL)


def test_errors_and_headers_are_the_servers(ray: RunningRay) -> None:
    url = ray.url_of("prefix")
    body = {"prompt": "x", "temperature": -1}
    answer = httpx.post(f"{url}/v1/completions", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "temperature"
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert httpx.get(f"{url}/nowhere", timeout=60, trust_env=False).status_code == 404


def test_a_hang_up_reaches_the_engine(ray: RunningRay) -> None:
    url = ray.url_of("prefix")
    name = r'request_success_total\{.*finished_reason="abort".*\}'
    assert counted(url, name) == 0
    body = {"prompt": "The sea is", "max_tokens": 900, "ignore_eos": True, "stream": True}
    with httpx.stream(
        "POST", f"{url}/v1/completions", json=body, timeout=60, trust_env=False
    ) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
    deadline = time.monotonic() + 60
    while counted(url, name) < 1:
        assert time.monotonic() < deadline, "the engine goes on"


def test_prefix_aware_routing_finds_more_prefixes(ray: RunningRay) -> None:
    """At least 1.5 times the share of cached tokens that round robin gives."""
    rates = {
        name: converse(ray.url_of(name), Workload(), model=MODEL).hit_rate
        for name in ("turns", "prefix")
    }
    print("ray", rates)
    assert rates["prefix"] >= 1.5 * rates["turns"], rates


def test_requests_that_wait_bring_a_replica(ray: RunningRay) -> None:
    assert len(ray.replica_pids("scaled")) == 1
    with SteadyLoad(ray.url_of("scaled"), model=MODEL, clients=6) as load:
        deadline = time.monotonic() + NOTICE_SECONDS
        while len(ray.replica_pids("scaled")) < 2:
            assert time.monotonic() < deadline, "Ray has not started another replica"
            time.sleep(1)
    assert load.failures == []


def test_a_killed_replica_costs_only_what_it_had_begun(ray: RunningRay) -> None:
    with SteadyLoad(ray.url_of("prefix"), model=MODEL, clients=6) as load:
        load.wait_for(12, seconds=LOAD_SECONDS)
        first, second = ray.replica_pids("prefix")
        os.kill(first, signal.SIGKILL)
        load.wait_for(24, seconds=LOAD_SECONDS)
        deadline = time.monotonic() + NOTICE_SECONDS
        while len(set(ray.replica_pids("prefix")) - {first}) < 2:
            assert time.monotonic() < deadline, "Ray has not replaced the replica"
            time.sleep(1)
        load.wait_for(6, seconds=LOAD_SECONDS)
    assert second in ray.replica_pids("prefix")
    assert [failure for failure in load.failures if not failure.started] == []
    assert len(load.failures) <= 6  # streams that had begun
    assert load.completed >= 36
