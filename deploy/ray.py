"""ftllm on Ray Serve: replicas of one model behind one address.

    serve run ftllm.deploy.ray:app model=MODEL num_replicas=4
    serve run ftllm.deploy.ray:app model=MODEL min_replicas=1 max_replicas=8

In a config file of Ray Serve, `import_path` is ftllm.deploy.ray:app and `args` has the same names.
"""

# No `from __future__ import annotations`: Ray reads the annotation of `app` as a class.
import math
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from ray import serve
from ray.serve.config import AutoscalingConfig, RequestRouterConfig

from ftllm.deploy.ray_ingress import Ingress
from ftllm.deploy.ray_replica import EngineReplica
from ftllm.errors import OptionError
from ftllm.loading import LoadOptions
from ftllm.server.request_limits import RequestLimits
from ftllm.server.settings import ServerSettings

PREFIX_ROUTER: Final = "ftllm.deploy.prefix_router.PrefixRouter"
HEALTH_SECONDS: Final = 10.0
INGRESS_REQUESTS: Final = 10_000  # that one ingress replica carries at a time
DRAIN_SLACK: Final = 10.0  # seconds beside drain_timeout until a replica is killed

Options = TypeVar("Options", LoadOptions, RequestLimits, ServerSettings)

LOAD_FIELDS: Final = frozenset(each.name for each in fields(LoadOptions))
LIMIT_FIELDS: Final = frozenset({"queue_timeout", "request_timeout"})
# The others are of connections, which Ray's proxy has, and of the log, which is Ray's.
SERVER_FIELDS: Final = frozenset(
    each.name
    for each in fields(ServerSettings)
    if each.name not in ("host", "port", "tls", "limits", "log_level", "log_format")
)


class Arguments(BaseModel):
    """What `app` takes. Beside these: the fields of `LoadOptions` (model, dtype, tokens, threads …)
    and of `ServerSettings` (api_key_files, lenient …), queue_timeout and request_timeout."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    num_replicas: int | None = Field(default=None, ge=1)  # None = 1, unless max_replicas is given
    min_replicas: int | None = Field(default=None, ge=0)  # None = 1; only with max_replicas
    max_replicas: int | None = Field(default=None, ge=1)  # given: as many as the queue asks for
    target_ongoing_requests: float | None = Field(default=None, gt=0)  # None = max_batch
    upscale_delay_s: float = Field(default=30.0, ge=0)
    downscale_delay_s: float = Field(default=600.0, ge=0)
    num_cpus: float = Field(default=1.0, gt=0)  # that Ray sets aside for each replica
    num_ingress_replicas: int = Field(default=1, ge=1)
    request_router: str = PREFIX_ROUTER  # the import path of a request router of Ray Serve

    @model_validator(mode="after")
    def _scales_in_one_way(self) -> "Arguments":
        if self.max_replicas is None:
            for name in ("min_replicas", "target_ongoing_requests"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} needs max_replicas, which turns autoscaling on")
        elif self.num_replicas is not None:
            raise ValueError("num_replicas and max_replicas exclude each other: give one of them")
        elif (self.min_replicas or 0) > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas}; it must be at most max_replicas, which is"
                f" {self.max_replicas}"
            )
        unknown = sorted(self._options.keys() - ARGUMENT_NAMES)
        if unknown:
            raise ValueError(
                f"{unknown[0]} is no argument; they are {', '.join(sorted(ARGUMENT_NAMES))}"
            )
        return self

    @property
    def _options(self) -> dict[str, Any]:
        return self.model_extra or {}

    def load_options(self) -> LoadOptions:
        """Threads are the whole CPUs of a replica where nothing else is said."""
        threads = {"threads": max(1, math.floor(self.num_cpus))}
        return _validated(LoadOptions, threads | self._chosen(LOAD_FIELDS))

    def server_settings(self) -> ServerSettings:
        limits = _validated(RequestLimits, self._chosen(LIMIT_FIELDS))
        return replace(_validated(ServerSettings, self._chosen(SERVER_FIELDS)), limits=limits)

    def _chosen(self, names: frozenset[str]) -> dict[str, Any]:
        return {name: value for name, value in self._options.items() if name in names}


ARGUMENT_NAMES: Final = (
    LOAD_FIELDS | SERVER_FIELDS | LIMIT_FIELDS | frozenset(Arguments.model_fields)
)


def app(arguments: Arguments) -> serve.Application:
    """Builds the application. Raises `OptionError` for an argument that cannot be honoured."""
    load, settings = arguments.load_options(), arguments.server_settings()
    replica = serve.deployment(
        EngineReplica,
        name="engine",
        ray_actor_options={"num_cpus": arguments.num_cpus},
        max_ongoing_requests=load.max_batch + load.max_queue,  # more would get 429
        max_queued_requests=max(1, load.max_queue),  # at each ingress, when all replicas are full
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=settings.stall_timeout + HEALTH_SECONDS,
        graceful_shutdown_timeout_s=settings.drain_timeout + DRAIN_SLACK,
        request_router_config=RequestRouterConfig(request_router_class=arguments.request_router),
        **_scale(arguments, max_batch=load.max_batch),
    )
    ingress = serve.deployment(
        Ingress,
        name="ingress",
        num_replicas=arguments.num_ingress_replicas,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=INGRESS_REQUESTS,
        graceful_shutdown_timeout_s=settings.drain_timeout + DRAIN_SLACK,
    )
    return ingress.bind(replica.bind(load, settings), max_body_bytes=settings.max_body_bytes)


def _scale(arguments: Arguments, *, max_batch: int) -> dict[str, Any]:
    """Fixed, or by the requests that run and wait at each replica, on average."""
    if arguments.max_replicas is None:
        return {"num_replicas": arguments.num_replicas or 1}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=1 if arguments.min_replicas is None else arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            target_ongoing_requests=arguments.target_ongoing_requests or max_batch,
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
        )
    }


def _validated(kind: type[Options], values: dict[str, Any]) -> Options:
    """`kind` from values as the command line and YAML have them: numbers may be texts."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        value = "" if "keys" in name else f" is {first['input']!r}"
        raise OptionError(f"{name}{value}: {first['msg']}.") from None
