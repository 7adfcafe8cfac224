"""Dashboard and alerts against a real Prometheus, which scrapes a real server.

Needs Prometheus on the path (Debian: `apt-get install prometheus`).
"""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_server import RunningServer

HERE = Path(__file__).parent
FILES = HERE.parents[1] / "helm" / "files"
START_SECONDS = 60
SCRAPES_SECONDS = 60  # until a rate has the samples it needs; the machine may be busy
KEY = {"Authorization": "Bearer sk-alice"}

Query = Callable[[str], list[dict[str, Any]]]


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not there: apt-get install prometheus")
    return path


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_alert_rules() -> None:
    run(program("promtool"), "check", "rules", FILES / "alerts.yaml")
    run(program("promtool"), "test", "rules", HERE / "alerts_test.yaml")


def panel_queries() -> list[tuple[str, str]]:
    """(panel and legend, query) with Grafana's variables filled in."""
    dashboard = json.loads((FILES / "dashboard.json").read_text())
    return [
        (
            f"{panel['title']}: {target['legendFormat']}",
            target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*"),
        )
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


@pytest.fixture(scope="module")
def server(
    model_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    program("prometheus")
    model_file("smollm2-135m")
    folder = tmp_path_factory.mktemp("server")
    keys = folder / "keys.yaml"
    keys.write_text("alice: sk-alice\n")
    arguments = ["smollm2-135m", "--tokens", "2048", "--max_batch", "1", "--max_queue", "1"]
    arguments += ["--api_key_file", str(keys)]
    with RunningServer(arguments, log=folder / "server.log") as server:
        yield server


@pytest.fixture(scope="module")
def query(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Query]:
    """Asks a Prometheus that scrapes the server once a second."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "alerts.yaml").write_text(
        # The staged overload is short.
        re.sub(r"for: 2m", "for: 1s", (FILES / "alerts.yaml").read_text())
    )
    (folder / "prometheus.yaml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [alerts.yaml]\n"
        "scrape_configs:\n"
        "  - job_name: ftllm\n"
        f"    static_configs: [{{targets: ['{server.url.removeprefix('http://')}']}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program("prometheus"), f"--config.file={folder / 'prometheus.yaml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False)

    def ask(expression: str) -> list[dict[str, Any]]:
        response = client.get("/api/v1/query", params={"query": expression})
        if response.status_code == 503:  # it is still starting
            return []
        answer = response.json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def scraped() -> bool:
        try:
            return bool(ask("up == 1"))
        except httpx.TransportError:
            return False

    try:
        wait_for(scraped, START_SECONDS)
        yield ask
    finally:
        client.close()
        process.terminate()
        process.wait(30)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)


def complete(server: RunningServer) -> int:
    body = {"model": "smollm2-135m", "prompt": "The sea is", "max_tokens": 16, "ignore_eos": True}
    return httpx.post(
        f"{server.url}/v1/completions", json=body, headers=KEY, timeout=120, trust_env=False
    ).status_code


@pytest.mark.e2e
def test_panels_and_alert(server: RunningServer, query: Query) -> None:
    """Under an overload, every query of every panel has data, and the alert of refusals fires."""
    over = threading.Event()
    statuses: list[int] = []

    def ask_again() -> None:
        while not over.is_set():
            statuses.append(complete(server))
            time.sleep(0.2)

    clients = [threading.Thread(target=ask_again) for _ in range(4)]
    for client in clients:
        client.start()

    def without_data() -> list[str]:
        return [
            name
            for name, expression in panel_queries()
            if all(math.isnan(float(each["value"][1])) for each in query(expression))
        ]

    def firing() -> set[str]:
        alerts = query('ALERTS{alertstate="firing"}')
        return {alert["metric"]["alertname"] for alert in alerts}

    deadline = time.monotonic() + SCRAPES_SECONDS
    try:
        while (without_data() or not firing()) and time.monotonic() < deadline:
            time.sleep(1)
        missing, alerts = without_data(), firing()
    finally:
        over.set()
        for client in clients:
            client.join()
    assert missing == [], statuses
    assert alerts == {"FtllmRefusesRequests"}, statuses
    assert {200, 429} <= set(statuses)
    assert len(panel_queries()) >= 30


@pytest.mark.e2e
def test_panels_of_nothing_are_found_out(query: Query) -> None:
    assert query('sum(ftllm:no_such_metric{model_name=~".*"})') == []
