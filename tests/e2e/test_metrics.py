"""/metrics and SIGTERM on a real server: the figures are those of what was sent."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_server import RunningServer

from .conftest import FetchModel
from .servers import MODELS_FILE, ServerFactory, wait_until_idle

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
Samples = dict[tuple[str, str], float]  # (name, value of the one label that tells them apart)
TELLING = ("finished_reason", "reason", "api_key_name", "phase", "isa")


def scrape(server: RunningServer) -> Samples:
    """Without buckets."""
    text = httpx.get(f"{server.url}/metrics", timeout=10).raise_for_status().text
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                label = next((sample.labels[name] for name in TELLING if name in sample.labels), "")
                samples[sample.name, label] = sample.value
    return samples


def complete(server: RunningServer, prompt: str, **fields: object) -> dict[str, int]:
    """The usage."""
    body = {"prompt": prompt, "temperature": 0, "ignore_eos": True, **fields}
    headers = {"Authorization": "Bearer k1"}
    answer = httpx.post(f"{server.url}/v1/completions", json=body, headers=headers, timeout=120)
    usage: dict[str, int] = answer.raise_for_status().json()["usage"]
    return usage


def test_figures_agree_with_what_was_sent(serving: ServerFactory, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("k1 alice\n")
    with serving(MODEL, "--tokens", "4096", "--api_key_file", str(keys)) as server:
        before = scrape(server)
        usages = [
            complete(server, "The capital of France is", max_tokens=9),
            complete(server, "The quick brown fox " * 30, max_tokens=5),
            complete(server, "The quick brown fox " * 30, max_tokens=1),  # cached
        ]
        wait_until_idle(server)
        after = scrape(server)

    def grown(name: str, label: str = "") -> float:
        key = (f"ftllm:{name}", label)
        return after[key] - before.get(key, 0)

    prompt_tokens = sum(usage["prompt_tokens"] for usage in usages)
    assert grown("prompt_tokens_total") == prompt_tokens
    assert grown("request_prompt_tokens_sum") == prompt_tokens
    assert grown("prefix_cache_queries_total") == prompt_tokens
    assert 64 <= grown("prefix_cache_hits_total") < usages[2]["prompt_tokens"]
    assert grown("generation_tokens_total") == grown("request_generation_tokens_sum") == 15
    assert grown("request_success_total", "length") == 3
    assert grown("time_to_first_token_seconds_count") == 3
    assert grown("inter_token_latency_seconds_count") == 8 + 4
    assert grown("request_time_per_output_token_seconds_count") == 2
    assert grown("iteration_tokens_total_count") >= 15
    computed = prompt_tokens - grown("prefix_cache_hits_total") + 8 + 4
    assert grown("iteration_tokens_total_sum") == computed
    assert grown("api_key_prompt_tokens_total", "alice") == prompt_tokens
    assert grown("api_key_generation_tokens_total", "alice") == 15
    phases = [
        grown(f"request_{phase}_time_seconds_sum") for phase in ("queue", "prefill", "decode")
    ]
    assert all(seconds > 0 for seconds in phases)
    assert grown("request_inference_time_seconds_sum") == pytest.approx(
        phases[1] + phases[2], rel=0.05
    )
    assert grown("e2e_request_latency_seconds_sum") >= sum(phases)
    steps = grown("engine_step_time_seconds_sum")
    assert steps == pytest.approx(grown("request_inference_time_seconds_sum"), rel=0.25)
    assert after["ftllm:startup_time_seconds", "weights"] > 0


def test_a_drain_under_streams(model_file: FetchModel, tmp_path: Path) -> None:
    """Streams that can finish do, a longer one is told, and what comes later is sent away."""
    model_file(MODEL)
    arguments = [MODEL, "--models_file", str(MODELS_FILE), "--drain_timeout", "20"]
    with RunningServer([*arguments, "--tokens", "8192"], log=tmp_path / "log") as server:
        streams = [Stream(server, max_tokens=tokens) for tokens in (40, 60, 6000)]
        for stream in streams:
            assert stream.begun.wait(60)
        server.send_signal(signal.SIGTERM)
        assert streams[2].thread.is_alive()
        refused = httpx.post(f"{server.url}/v1/completions", json={"prompt": "x"}, timeout=10)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert int(refused.headers["retry-after"]) >= 1
        health = httpx.get(f"{server.url}/health", timeout=10)
        assert health.status_code == 503
        assert health.json()["draining"]
        for stream in streams:
            stream.thread.join(60)
        assert [stream.ending for stream in streams] == ["length", "length", "engine_stopped"]
        assert [stream.done for stream in streams] == [1, 1, 1]
        assert server.stop() == 4


class Stream:
    """A streamed completion, read on a thread of its own."""

    def __init__(self, server: RunningServer, *, max_tokens: int) -> None:
        self.begun = threading.Event()
        self.ending = ""  # the finish reason, or the error's code
        self.done = 0  # how often [DONE] came
        self._url = f"{server.url}/v1/completions"
        self._max_tokens = max_tokens
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        body = {
            "prompt": "Once upon a time",
            "max_tokens": self._max_tokens,
            "ignore_eos": True,
            "stream": True,
        }
        with httpx.stream("POST", self._url, json=body, timeout=120) as response:
            for line in response.iter_lines():
                self._take(line)

    def _take(self, line: str) -> None:
        data = line.removeprefix("data: ")
        if data == line:
            return
        self.begun.set()
        if data == "[DONE]":
            self.done += 1
            return
        event = json.loads(data)
        if "error" in event:
            self.ending = event["error"]["code"]
        else:
            self.ending = event["choices"][0]["finish_reason"] or self.ending
