"""What tells a tracing system of requests. A server without one has no `Tracer`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final, Protocol

from starlette.types import Scope

from ftllm.engine.request import FinishedEvent, Request
from ftllm.errors import OptionError
from ftllm.server.metrics.sequence_times import SequenceTimes

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
INSTALL: Final = "pip install 'ftllm[otel]'"
_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")

server_log = logging.getLogger("ftllm.server")


class RequestSpan(Protocol):
    """One HTTP request. Used on the event loop."""

    @property
    def ids(self) -> Mapping[str, str]:
        """For the lines of the log that belong to it: `trace_id` and `span_id`."""

    def submit(self, request: Request) -> None:
        """The engine has taken this sequence for it."""

    def finish(self, event: FinishedEvent, reason: str, times: SequenceTimes) -> None:
        """The sequence has ended; also after `end`, when the client did not wait for it."""

    def end(
        self, *, status: int, prompt_tokens: int, output_tokens: int, key_name: str | None
    ) -> None:
        """The answer is complete."""


class Tracer(Protocol):
    def start(self, scope: Scope, *, request_id: str) -> RequestSpan:
        """A span for the request of `scope`, within the trace that its headers tell of."""

    def close(self, *, patience: float) -> None:
        """Sends what has not been sent, for `patience` seconds at most."""


def check_traceable(endpoint: str) -> None:
    """Raises `OptionError` when traces cannot be sent from here."""
    if not _is_installed():
        raise OptionError(
            f"otlp_endpoint is {endpoint!r}, and OpenTelemetry is not installed: {INSTALL}."
        )


def make_tracer(
    endpoint: str | None, *, model_name: str, environment: Mapping[str, str]
) -> Tracer | None:
    """None, and nothing is imported, unless `endpoint` or OpenTelemetry's own variables name a
    collector."""
    variable = next(filter(environment.get, ENDPOINT_VARIABLES), None)
    if endpoint is None and variable is None:
        return None
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if endpoint is None:
        protocols = map(environment.get, PROTOCOL_VARIABLES)
        if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip() != "otlp":
            return None
        if next(filter(None, protocols), "http/protobuf") != "http/protobuf":
            server_log.warning("no traces are sent: of OTLP, only http/protobuf is spoken.")
            return None
        if not _is_installed():
            server_log.warning("%s is set, but no traces are sent: %s.", variable, INSTALL)
            return None
    from ftllm.server.otel_tracer import OtelTracer  # here, so that it costs nothing when off

    return OtelTracer(endpoint, model_name=model_name)


def _is_installed() -> bool:
    try:
        return all(find_spec(name) is not None for name in _MODULES)
    except ModuleNotFoundError:  # not even a package above it
        return False
