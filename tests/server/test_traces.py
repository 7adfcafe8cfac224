"""Traces as an OTLP/HTTP collector gets them."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from ftllm.errors import OptionError
from ftllm.server import tracing
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from ftllm.server.tracing import make_tracer

from .api import Api, listening
from .collector import Collector, SentSpan, collecting
from .fake_engine import CACHED_TOKENS, FakeEngine
from .fake_model import FakeModel

TESTS = str(Path(__file__).parent.parent)
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = "the-secret-prompt"
SERVER, INTERNAL = 2, 1  # kinds of spans
ERROR = 2  # a status

needs_otel = pytest.mark.skipif(
    not tracing._is_installed(), reason="OpenTelemetry is not there: pip install '.[otel]'"
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*tracing.ENDPOINT_VARIABLES, *tracing.PROTOCOL_VARIABLES, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def url(model: FakeModel, collector: Collector) -> Iterator[str]:
    """Of a server that traces."""
    app = create_app(model, ServerSettings(otlp_endpoint=collector.url))
    with listening(app) as url:
        yield url


def chat(url: str, text: str = SECRET, **fields: object) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "mine"}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)


def by_name(spans: list[SentSpan]) -> dict[str, SentSpan]:
    assert len({span.name for span in spans}) == len(spans)
    return {span.name: span for span in spans}


@needs_otel
@pytest.mark.parametrize("stream", [False, True])
def test_spans_of_a_request(
    url: str, collector: Collector, engine: FakeEngine, *, stream: bool
) -> None:
    engine.step_seconds = 0.02
    began = time.time_ns()
    response = chat(url, temperature=0.5, top_p=0.9, max_tokens=40, seed=7, stream=stream)
    assert response.status_code == 200
    spans = by_name(collector.wait_for(4))
    ended = time.time_ns()
    server = spans["POST /v1/chat/completions"]
    assert (server.trace_id, server.parent_id, server.kind) == (TRACE, PARENT, SERVER)
    prompt_tokens = len(engine.requests[0].prompt_ids)
    answer_id = engine.requests[0].request_id.removesuffix("-0")
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/v1/chat/completions",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ftllm",
        "gen_ai.request.model": "tiny/model",
        "gen_ai.response.model": "tiny/model",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 40,
        "gen_ai.request.seed": engine.requests[0].params.seed,
        "gen_ai.response.id": answer_id,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": prompt_tokens,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": CACHED_TOKENS,
        "ftllm.request_id": "mine",
    }
    children = [spans[name] for name in ("queue", "prefill", "decode")]
    for child in children:
        assert (child.trace_id, child.parent_id, child.kind) == (TRACE, server.span_id, INTERNAL)
    times = [began, server.start, children[0].start]
    for child in children:
        assert child.start == times[-1] or child is children[0]
        times.append(child.end)
    assert sorted(times) == times
    assert times[-1] <= server.end <= ended
    assert children[2].end - children[2].start >= 3 * 0.02e9 * 0.9  # three steps
    assert children[1].attributes["gen_ai.usage.input_tokens"] == prompt_tokens
    assert children[2].attributes == {"gen_ai.usage.output_tokens": 4}
    assert server.resource["service.name"] == "ftllm"
    assert server.resource["service.version"] == version("ftllm")


@needs_otel
def test_a_trace_begins_here_if_nobody_began_it(url: str, collector: Collector) -> None:
    httpx.post(f"{url}/v1/completions", json={"prompt": "x"}, headers={"traceparent": "nonsense"})
    server = by_name(collector.wait_for(4))["POST /v1/completions"]
    assert server.parent_id == ""
    assert server.trace_id.strip("0")
    assert server.attributes["gen_ai.operation.name"] == "text_completion"


@needs_otel
def test_what_the_caller_does_not_sample_is_not_sent(url: str, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    httpx.post(f"{url}/v1/completions", json={"prompt": "x"}, headers=headers)
    chat(url)
    assert {span.name for span in collector.wait_for(4)} == {
        *("POST /v1/chat/completions", "queue", "prefill", "decode")
    }


@needs_otel
def test_several_choices(url: str, collector: Collector) -> None:
    chat(url, n=2)
    spans = collector.wait_for(7)
    (server,) = [span for span in spans if span.kind == SERVER]
    assert server.attributes["gen_ai.request.choice.count"] == 2
    assert server.attributes["gen_ai.response.finish_reasons"] == ["stop", "stop"]
    assert sum(span.name == "decode" for span in spans) == 2


@needs_otel
def test_embeddings_have_no_decode(url: str, collector: Collector) -> None:
    httpx.post(f"{url}/v1/embeddings", json={"input": "x"})
    spans = by_name(collector.wait_for(3))
    assert set(spans) == {"POST /v1/embeddings", "queue", "prefill"}
    assert spans["POST /v1/embeddings"].attributes["gen_ai.operation.name"] == "embeddings"


@needs_otel
@pytest.mark.parametrize("stream", [False, True])
def test_failures(url: str, collector: Collector, engine: FakeEngine, *, stream: bool) -> None:
    engine.fail_after = 1
    assert chat(url, stream=stream).status_code == (200 if stream else 500)
    server = by_name(collector.wait_for(4))["POST /v1/chat/completions"]
    assert server.status == ERROR
    assert server.attributes["error.type"] == ("engine_error" if stream else "500")
    assert server.attributes["gen_ai.response.finish_reasons"] == ["error"]


@needs_otel
def test_refusals_and_looks(url: str, collector: Collector) -> None:
    httpx.get(f"{url}/health")
    httpx.get(f"{url}/v1/models")
    assert chat(url, temperature="hot").status_code == 400
    assert httpx.post(f"{url}/nowhere/{SECRET}").status_code == 404
    refused, unknown = collector.wait_for(2)
    assert refused.attributes["http.response.status_code"] == 400
    assert refused.status != ERROR
    assert unknown.name == "POST"  # a name has no part that clients choose


@needs_otel
def test_no_prompt_is_sent(url: str, collector: Collector, engine: FakeEngine) -> None:
    chat(url, stop=[SECRET])
    chat(url, temperature=SECRET)
    engine.refuse = ZeroDivisionError(SECRET)
    chat(url)
    collector.wait_for(6)
    assert not any(SECRET.encode() in body for body in collector.bodies)


@needs_otel
def test_lines_of_the_log_have_the_ids_of_the_trace(url: str, collector: Collector) -> None:
    from ftllm.server.log_filter import RequestIdFilter
    from ftllm.server.log_format import JsonFormatter

    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.addFilter(RequestIdFilter())
    handler.emit = records.append  # type: ignore[method-assign]
    access = logging.getLogger("ftllm.access")
    level = access.level
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    try:
        chat(url)
    finally:
        access.removeHandler(handler)
        access.setLevel(level)
    server = by_name(collector.wait_for(4))["POST /v1/chat/completions"]
    line = json.loads(JsonFormatter(hide_input=True).format(records[0]))
    assert (line["trace_id"], line["span_id"]) == (server.trace_id, server.span_id)


@needs_otel
def test_the_standard_variables_hold(
    model: FakeModel, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-models")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with listening(create_app(model, ServerSettings())) as url:
        chat(url)
    span = collector.wait_for(4)[0]
    assert span.resource["service.name"] == "my-models"
    assert span.resource["deployment.environment"] == "test"
    assert collector.headers[0]["x-tenant"] == "seven"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert make_tracer(collector.url, model_name="m", environment=os.environ) is None


@needs_otel
def test_what_is_left_is_sent_at_the_end(
    model: FakeModel, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    settings = ServerSettings(otlp_endpoint=f"{collector.url}/v1/traces")
    with listening(create_app(model, settings)) as url:
        chat(url)
        assert collector.spans == []
    assert len(collector.spans) == 4


@needs_otel
def test_a_collector_that_is_away_costs_no_answer(
    model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ServerSettings(otlp_endpoint="http://127.0.0.1:9")
    began = time.monotonic()
    with listening(create_app(model, settings)) as url:
        assert chat(url).status_code == 200
        closing = time.monotonic()
    assert time.monotonic() - closing < 25, "the SDK's own patience is longer"
    assert began < closing
    for thread in threading.enumerate():
        if thread.name == "otel-close":
            thread.join(1)
            assert not thread.is_alive(), "it goes on trying"


def test_off_imports_nothing() -> None:
    program = (
        f"import sys; sys.path.insert(0, {TESTS!r})\n"
        "import ftllm.server.run\n"
        "from server.fake_engine import FakeEngine\n"
        "from server.fake_model import FakeModel\n"
        "from ftllm.server.services import Services\n"
        "from ftllm.server.settings import ServerSettings\n"
        "services = Services(FakeModel(FakeEngine(lambda _: [65])), ServerSettings())\n"
        "parts = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf', 'requests')\n"
        "print(services.tracer, [name for name in sys.modules if name.startswith(parts)])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=TESTS
    )
    assert result.stdout == "None []\n"


def test_the_extra_is_asked_for(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "_MODULES", ("no_such_package.sdk",))
    with pytest.raises(OptionError, match=r"not installed: pip install 'ftllm\[otel\]'"):
        ServerSettings(otlp_endpoint="http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    api = Api(create_app(model, ServerSettings()))  # what a cluster sets must not stop a server
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, but no traces are sent" in caplog.text
    assert api.chat().status_code == 200


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_variables_that_leave_it_off(environment: dict[str, str]) -> None:
    assert make_tracer(None, model_name="m", environment=environment) is None


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://x", "http://", "http://x:port", ""])
def test_a_wrong_endpoint(endpoint: str) -> None:
    with pytest.raises(OptionError, match=r"otlp_endpoint is .* it must be a URL such as"):
        ServerSettings(otlp_endpoint=endpoint)
