"""/metrics: what it tells after requests whose tokens are known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ftllm.engine.step_log import StepTime
from ftllm.errors import EngineStoppedError, OptionError, QueueFullError
from ftllm.server.app import create_app
from ftllm.server.metrics.buckets import one_two_five
from ftllm.server.metrics.histogram import Histogram
from ftllm.server.settings import ServerSettings

from .api import Api
from .fake_engine import FakeEngine
from .fake_model import FakeModel, says

LABELS = {"model_name": "tiny/model", "engine": "0"}
GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
COUNTERS = (
    *("prompt_tokens", "generation_tokens", "prefix_cache_queries", "prefix_cache_hits"),
    *("num_preemptions", "request_success", "admission_rejections"),
    *("spec_decode_num_draft_tokens", "spec_decode_num_accepted_tokens"),
)
HISTOGRAMS = (
    *("time_to_first_token_seconds", "inter_token_latency_seconds"),
    *("request_time_per_output_token_seconds", "e2e_request_latency_seconds"),
    *("request_queue_time_seconds", "request_prefill_time_seconds"),
    *("request_decode_time_seconds", "request_inference_time_seconds"),
    *("request_prompt_tokens", "request_generation_tokens", "iteration_tokens_total"),
    *("engine_step_time_seconds", "grammar_compile_time_seconds", "grammar_mask_time_seconds"),
)


class Scrape:
    """What one scrape said: types of families, and samples by their names and labels."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.types = {family.name: family.type for family in families}
        self._samples = [sample for family in families for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The one sample that has these labels and perhaps more."""
        (value,) = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return value

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for sample in self._samples if sample.name == name]


def scrape(api: Api, *, prefix: str = "ftllm") -> Scrape:
    response = api.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    assert f"\n# TYPE {prefix}:" in response.text
    return Scrape(response.text)


def buckets(metrics: Scrape, name: str) -> list[float]:
    return [float(labels["le"]) for labels in metrics.labels(f"{name}_bucket")]


def test_names_types_and_labels(api: Api) -> None:
    metrics = scrape(api)
    for names, kind in ((GAUGES, "gauge"), (COUNTERS, "counter"), (HISTOGRAMS, "histogram")):
        for name in names:
            assert metrics.types[f"ftllm:{name}"] == kind, name
    for name in ("ftllm:num_requests_running", "ftllm:prompt_tokens_total"):
        assert metrics.labels(name) == [LABELS]
    assert metrics("ftllm:e2e_request_latency_seconds_count", **LABELS) == 0
    assert metrics("ftllm:cache_config_info", num_gpu_blocks="100", block_size="32") == 1
    assert metrics("ftllm:build_info", isa="scripted", threads="3", weights="int8,float32") == 1
    assert metrics("ftllm:startup_time_seconds", phase="weights") == 2.0
    assert metrics("process_open_fds") > 0


def test_buckets_are_those_of_vllm(api: Api) -> None:
    metrics = scrape(api)
    first_token = buckets(metrics, "ftllm:time_to_first_token_seconds")
    assert first_token[:3] == [0.001, 0.005, 0.01]
    assert first_token[-3:] == [640, 2560, float("inf")]
    assert buckets(metrics, "ftllm:inter_token_latency_seconds")[-2] == 80
    assert buckets(metrics, "ftllm:request_queue_time_seconds")[:2] == [0.3, 0.5]
    sizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, float("inf")]  # the model has 500 tokens
    assert buckets(metrics, "ftllm:request_prompt_tokens") == sizes
    assert buckets(metrics, "ftllm:iteration_tokens_total")[-2] == 16384


def test_a_prefix_of_its_own(model: FakeModel) -> None:
    metrics = scrape(Api(create_app(model, ServerSettings(metrics_prefix="vllm"))), prefix="vllm")
    assert metrics("vllm:num_requests_running") == 0
    assert not any(name.startswith("ftllm") for name in metrics.types)
    with pytest.raises(OptionError, match="metrics_prefix is 'a:b'"):
        ServerSettings(metrics_prefix="a:b")


def test_openmetrics_on_request(api: Api) -> None:
    response = api.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


def test_a_request_is_counted_and_timed(api: Api, engine: FakeEngine) -> None:
    engine.step_seconds = 0.02
    engine.queue_seconds = 0.001
    prompt_tokens = api.complete("four").json()["usage"]["prompt_tokens"]
    metrics = scrape(api)
    assert metrics("ftllm:request_success_total", finished_reason="stop") == 1
    assert metrics("ftllm:request_success_total", finished_reason="abort") == 0
    assert metrics("ftllm:prompt_tokens_total") == prompt_tokens
    assert metrics("ftllm:generation_tokens_total") == 4
    assert metrics("ftllm:request_prompt_tokens_sum") == prompt_tokens
    assert metrics("ftllm:request_generation_tokens_sum") == 4
    assert metrics("ftllm:request_generation_tokens_bucket", le="2.0") == 0
    assert metrics("ftllm:request_generation_tokens_bucket", le="5.0") == 1
    assert metrics("ftllm:time_to_first_token_seconds_count") == 1
    assert metrics("ftllm:inter_token_latency_seconds_count") == 3
    assert 0.06 <= metrics("ftllm:inter_token_latency_seconds_sum") < 1
    decode = metrics("ftllm:request_decode_time_seconds_sum")
    assert decode == pytest.approx(metrics("ftllm:inter_token_latency_seconds_sum"))
    per_token = metrics("ftllm:request_time_per_output_token_seconds_sum")
    assert per_token == pytest.approx(decode / 3)
    assert metrics("ftllm:request_queue_time_seconds_sum") == pytest.approx(0.001)
    prefill = metrics("ftllm:request_prefill_time_seconds_sum")
    inference = metrics("ftllm:request_inference_time_seconds_sum")
    assert inference == pytest.approx(prefill + decode, abs=0.01)
    assert metrics("ftllm:e2e_request_latency_seconds_sum") >= inference
    assert metrics("ftllm:engine_step_time_seconds_count") == engine.steps == 4
    assert metrics("ftllm:iteration_tokens_total_sum") == 4


def test_choices_are_sequences(api: Api) -> None:
    api.complete("a", n=3, max_tokens=2)
    metrics = scrape(api)
    assert metrics("ftllm:request_success_total", finished_reason="length") == 3
    assert metrics("ftllm:time_to_first_token_seconds_count") == 3


def test_a_stop_string_is_no_abort(api: Api, engine: FakeEngine) -> None:
    engine.script = lambda _: says("abcdefgh")
    assert api.complete("x", stop="c", max_tokens=50).json()["choices"][0]["text"] == "ab"
    assert engine.wait_idle()
    metrics = scrape(api)
    assert metrics("ftllm:request_success_total", finished_reason="stop") == 1
    assert metrics("ftllm:request_success_total", finished_reason="abort") == 0


def test_a_failure_and_an_abort(model: FakeModel, engine: FakeEngine) -> None:
    app = create_app(model, ServerSettings())
    engine.fail_after = 1
    Api(app).complete("x")
    engine.fail_after = None
    engine.script = lambda _: [65] * 400
    engine.step_seconds = 0.005

    async def abort() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            call = client.post("/v1/completions", json={"prompt": "x", "max_tokens": 400})
            task = asyncio.create_task(call)
            while engine.live == 0:
                await asyncio.sleep(0.005)
            engine.abort_all()
            assert (await task).status_code == 503

    asyncio.run(abort())
    metrics = scrape(Api(app))
    assert metrics("ftllm:request_success_total", finished_reason="error") == 1
    assert metrics("ftllm:request_success_total", finished_reason="abort") == 1


@pytest.mark.parametrize(
    ("refusal", "status", "reason"),
    [
        (QueueFullError("full", retry_after=3), 429, "queue_full"),
        (EngineStoppedError("over"), 503, "engine_stopped"),
    ],
)
def test_rejections(
    api: Api, engine: FakeEngine, refusal: Exception, status: int, reason: str
) -> None:
    engine.refuse = refusal
    for _ in range(2):
        assert api.complete("x", n=2).status_code == status
    engine.refuse = None
    assert api.complete("x").status_code == 200
    assert api.complete("x", max_tokens=-1).status_code == 400  # what it asks for is at fault
    metrics = scrape(api)
    assert metrics("ftllm:admission_rejections_total", reason=reason) == 2
    assert (
        sum(
            metrics("ftllm:admission_rejections_total", reason=each)
            for each in ("queue_full", "draining", "engine_stopped")
        )
        == 2
    )


def test_tokens_by_the_name_of_the_key(model: FakeModel, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-1 alice\nsk-2 bob\nsk-3\n")
    api = Api(create_app(model, ServerSettings(api_key_files=(file,))))

    def complete(key: str, prompt: Sequence[int]) -> None:
        body = f'{{"prompt": {list(prompt)}, "max_tokens": 2}}'.encode()
        headers = {"Authorization": f"Bearer {key}"}
        answer = api.send("POST", "/v1/completions", content=body, headers=headers)
        assert answer.status_code == 200

    complete("sk-1", [65] * 5)
    complete("sk-1", [65] * 6)
    complete("sk-2", [65] * 7)
    complete("sk-3", [65] * 8)
    metrics = scrape(api)
    name = "ftllm:api_key_prompt_tokens_total"
    assert metrics(name, api_key_name="alice") == 11
    assert metrics(name, api_key_name="bob") == 7
    assert len(metrics.labels(name)) == 2  # keys without a name are nobody's
    assert metrics("ftllm:api_key_generation_tokens_total", api_key_name="alice") == 4
    assert metrics("ftllm:prompt_tokens_total") == 26
    assert "sk-" not in api.get("/metrics").text


def test_metrics_are_public_unless_they_have_a_key(model: FakeModel) -> None:
    guarded = Api(create_app(model, ServerSettings(api_keys=("user",))))
    assert guarded.get("/metrics").status_code == 200
    settings = ServerSettings(
        api_keys=("user",), metrics_keys=("scraper",), admin_api_keys=("admin",)
    )
    api = Api(create_app(model, settings))

    def status(path: str, key: str) -> int:
        return api.get(path, headers={"Authorization": f"Bearer {key}"}).status_code

    assert api.get("/metrics").status_code == 401
    assert status("/metrics", "user") == 401
    assert status("/metrics", "scraper") == status("/metrics", "admin") == 200
    assert status("/v1/models", "scraper") == 401
    assert status("/v1/models", "user") == 200
    assert api.get("/health").status_code == 200
    assert "scraper" not in api.get("/server_info", headers={"x-api-key": "admin"}).text


def test_grammars_are_timed(api: Api, engine: FakeEngine) -> None:
    engine.mask_seconds = [0.002, 0.003]
    assert api.complete("x", structured_outputs={"regex": "Hello world!"}).status_code == 200
    assert api.complete("x").status_code == 200
    metrics = scrape(api)
    assert metrics("ftllm:grammar_compile_time_seconds_count") == 1
    assert metrics("ftllm:grammar_mask_time_seconds_sum") == pytest.approx(0.005)
    assert metrics("ftllm:grammar_mask_time_seconds_bucket", le="0.0025") == 1


def test_steps_without_events_are_seen_at_the_scrape(api: Api, engine: FakeEngine) -> None:
    engine.step_times = [StepTime(0.25, 512), StepTime(0.5, 512)]
    for _ in range(2):  # each counts once
        metrics = scrape(api)
        assert metrics("ftllm:engine_step_time_seconds_sum") == 0.75
        assert metrics("ftllm:iteration_tokens_total_bucket", le="512.0") == 2


def test_a_histogram() -> None:
    histogram = Histogram((1.0, 2.5))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.cumulative() == [("1.0", 2.0), ("2.5", 3.0), ("+Inf", 4.0)]
    assert (histogram.count, histogram.total) == (4, 12.0)


def test_bounds_of_sizes() -> None:
    assert one_two_five(100) == (1, 2, 5, 10, 20, 50, 100)
    assert one_two_five(1) == (1,)
