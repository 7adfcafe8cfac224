"""Traces by OpenTelemetry: a span for each POST, and below it what its sequences waited for.

Attributes follow the semantic conventions for HTTP and for generative AI. Texts are no part of
them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from starlette.datastructures import Headers
from starlette.types import Scope

from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishedEvent, Request
from ftllm.server.metrics.sequence_times import SequenceTimes

NAME: Final = "ftllm"
TRACES_PATH: Final = "/v1/traces"
_OPERATIONS: Final = {  # gen_ai.operation.name
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/messages": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}


def traces_url(endpoint: str) -> str:
    """Where a collector at `endpoint` takes traces, as OTEL_EXPORTER_OTLP_ENDPOINT has it."""
    base = endpoint.rstrip("/")
    return base if base.endswith(TRACES_PATH) else f"{base}{TRACES_PATH}"


class OtelTracer:
    """Sends spans in batches, on a thread of its own. Of OpenTelemetry's variables, those of the
    exporter (headers, timeout, certificates), the resource, the sampler, the batches and the
    propagators hold."""

    def __init__(self, endpoint: str | None, *, model_name: str) -> None:
        url = None if endpoint is None else traces_url(endpoint)
        # Its own provider: the process's global one is left to whoever embeds this app.
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=url)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(NAME, version(NAME))
        self._model_name = model_name

    def start(self, scope: Scope, *, request_id: str) -> OtelRequestSpan:
        attributes: dict[str, str] = {
            "http.request.method": scope["method"],
            "url.scheme": scope["scheme"],
            "url.path": scope["path"],
            "ftllm.request_id": request_id,
        }
        if (operation := _OPERATIONS.get(scope["path"])) is not None:
            attributes |= {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": NAME,
                "gen_ai.request.model": self._model_name,
                "gen_ai.response.model": self._model_name,
            }
        span = self._tracer.start_span(
            scope["method"],
            context=extract(Headers(scope=scope)),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        return OtelRequestSpan(span, self._tracer, scope)

    def close(self, *, patience: float) -> None:
        """A collector that is away would hold up the SDK's own way out for half a minute: after
        `patience` seconds it tries no more."""
        thread = threading.Thread(target=self._provider.shutdown, name="otel-close", daemon=True)
        thread.start()
        thread.join(patience)
        if thread.is_alive():
            self._exporter.shutdown()


class OtelRequestSpan:
    """See `ftllm.server.tracing.RequestSpan`."""

    def __init__(self, span: Span, tracer: Tracer, scope: Scope) -> None:
        self._span = span
        self._tracer = tracer
        self._scope = scope
        self._context = set_span_in_context(span)
        self._wall_ns = time.time_ns() - time.monotonic_ns()  # what makes one of the other
        self._sequences = 0
        self._reasons: list[str] = []
        self._cached_tokens = 0
        of_trace = span.get_span_context()
        self._ids = {
            "trace_id": f"{of_trace.trace_id:032x}",
            "span_id": f"{of_trace.span_id:016x}",
        }

    @property
    def ids(self) -> Mapping[str, str]:
        return self._ids

    def submit(self, request: Request) -> None:
        self._sequences += 1
        if self._sequences > 1 or request.pooling is not None:
            return
        self._span.set_attributes(_sampling(request.params))
        self._span.set_attribute("gen_ai.response.id", request.request_id.rpartition("-")[0])

    def finish(self, event: FinishedEvent, reason: str, times: SequenceTimes) -> None:
        self._reasons.append(reason)
        self._cached_tokens = event.cached_tokens
        started, first = times.started_at, times.first_token_at
        self._child("queue", times.submitted_at, times.ended_at if started is None else started)
        if started is None:
            return
        self._child(
            "prefill",
            started,
            times.ended_at if first is None else first,
            {
                "gen_ai.usage.input_tokens": event.prompt_tokens,
                "gen_ai.usage.cache_read.input_tokens": event.cached_tokens,
            },
        )
        if first is not None:
            tokens = {"gen_ai.usage.output_tokens": event.output_tokens}
            self._child("decode", first, times.last_token_at, tokens)

    def end(
        self, *, status: int, prompt_tokens: int, output_tokens: int, key_name: str | None
    ) -> None:
        span, method = self._span, self._scope["method"]
        route = getattr(self._scope.get("route"), "path", None)
        if route is not None:
            span.set_attribute("http.route", route)
            span.update_name(f"{method} {route}")
        span.set_attribute("http.response.status_code", status)
        if key_name:
            span.set_attribute("ftllm.key_name", key_name)
        if self._sequences:
            span.set_attribute("gen_ai.usage.input_tokens", prompt_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", output_tokens)
            span.set_attribute("gen_ai.response.finish_reasons", self._reasons)
        if self._sequences == 1:
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", self._cached_tokens)
        elif self._sequences:
            span.set_attribute("gen_ai.request.choice.count", self._sequences)
        if status >= 500 or "error" in self._reasons:
            span.set_attribute("error.type", str(status) if status >= 500 else "engine_error")
            span.set_status(StatusCode.ERROR)
        span.end()

    def _child(
        self, name: str, start: float, end: float, attributes: Mapping[str, int] | None = None
    ) -> None:
        """Times are seconds of `time.monotonic()`."""
        child = self._tracer.start_span(
            name, context=self._context, attributes=attributes, start_time=self._wall(start)
        )
        child.end(end_time=self._wall(end))

    def _wall(self, seconds: float) -> int:
        return self._wall_ns + round(seconds * 1e9)


def _sampling(params: SamplingParams) -> dict[str, int | float]:
    """What was asked for, or is the model's default."""
    attributes: dict[str, int | float] = {
        "gen_ai.request.temperature": params.temperature,
        "gen_ai.request.top_p": params.top_p,
    }
    for name, value in (
        ("top_k", params.top_k),
        ("max_tokens", params.max_tokens),
        ("frequency_penalty", params.frequency_penalty),
        ("presence_penalty", params.presence_penalty),
    ):
        if value:
            attributes[f"gen_ai.request.{name}"] = value
    if params.seed is not None and -(2**63) <= params.seed < 2**63:  # as OTLP has integers
        attributes["gen_ai.request.seed"] = params.seed
    return attributes


def _resource() -> Resource:
    """The environment's name of the service wins."""
    found = Resource.create({"service.version": version(NAME)})
    if str(found.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        found = found.merge(Resource({"service.name": NAME}))
    return found
