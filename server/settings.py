"""What an operator decides about the HTTP server."""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey
from ftllm.server.log_config import FORMATS, LEVELS
from ftllm.server.request_limits import DEFAULT_LIMITS, RequestLimits
from ftllm.server.tls_files import TlsFiles
from ftllm.server.tracing import check_traceable

# As browsers send it: no path, not even a slash.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Start-up settings of the server. Raises `OptionError` for a value that cannot be honoured."""

    host: str | None = None  # None = 127.0.0.1 without a key, 0.0.0.0 with one
    port: int = 8080  # 0 = any free port
    api_keys: tuple[str, ...] = field(default=(), repr=False)  # and no files: no authentication
    api_key_files: tuple[Path, ...] = ()  # more keys, read again on SIGHUP
    admin_api_keys: tuple[str | ApiKey, ...] = field(default=(), repr=False)  # for admin routes
    lenient: bool = False  # ignore unknown request fields instead of refusing them
    hide_input: bool = False  # never write prompts or exception texts to the log
    max_body_bytes: int = 16 * 1024 * 1024
    limits: RequestLimits = DEFAULT_LIMITS
    cors_origins: tuple[str, ...] = ()  # whose pages may call the API; "*" = all
    tls: TlsFiles | None = None  # None: plain HTTP
    max_choices: int = 256  # prompts x n of one request
    text_threads: int = 2  # threads that render and tokenize long prompts
    grammar_timeout: float = 10.0  # seconds that compiling a request's grammar may take
    tool_call_parser: str = "auto"  # how the model writes tool calls: a dialect, auto or none
    reasoning_parser: str = "auto"  # how it marks its thinking: the same
    think: str = "auto"  # whether it thinks when a request does not say: auto, on or off
    stored_responses: int = 1000  # of /v1/responses; 0 = none are stored
    response_store: Path | None = None  # a file that holds them over a restart; None: in memory
    stored_bytes: int = 256 * 1024 * 1024  # that they have together, about
    keep_alive: float = 15.0  # seconds of silence in a stream before a comment is sent; 0 = never
    stall_timeout: float = 60.0  # seconds one engine step may take before /live and /ready fail
    drain_timeout: float = 30.0  # seconds that running requests get to finish
    metrics_prefix: str = "ftllm"  # of the names in /metrics, before the colon
    metrics_keys: tuple[str | ApiKey, ...] = field(default=(), repr=False)  # none: it is public
    log_level: str = "info"  # critical, error, warning, info, debug
    log_format: str = "text"  # or json: an object a line
    otlp_endpoint: str | None = None  # of an OTLP/HTTP collector; None = as OTEL_* says, or none

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise OptionError(f"port is {self.port}; it must be from 0 to 65535.")
        keys = (*self.api_keys, *self.admin_api_keys, *self.metrics_keys)
        if any(isinstance(key, str) and not key.strip() for key in keys):
            raise OptionError("An API key is empty; give each key at least one character.")
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"cors_origin is {origin!r}; it must be * or as https://example.com, with a"
                    " port if needed, without a path or a slash at the end."
                )
        if self.log_level not in LEVELS:
            raise OptionError(
                f"log_level is {self.log_level!r}; it must be critical, error, warning, info or"
                " debug."
            )
        if self.log_format not in FORMATS:
            raise OptionError(f"log_format is {self.log_format!r}; it must be text or json.")
        if self.otlp_endpoint is not None:
            _check_url("otlp_endpoint", self.otlp_endpoint)
            check_traceable(self.otlp_endpoint)
        if self.think not in ("auto", "on", "off"):
            raise OptionError(f"think is {self.think!r}; it must be auto, on or off.")
        for name in ("keep_alive", "drain_timeout", "stall_timeout"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be 0 or more seconds.")
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", self.metrics_prefix):
            raise OptionError(
                f"metrics_prefix is {self.metrics_prefix!r}; it must be of ASCII letters, digits"
                " and _, and begin with no digit."
            )
        for name in ("stored_responses", "stored_bytes"):
            if getattr(self, name) < 0:
                raise OptionError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        if self.response_store is not None and not self.stored_responses:
            raise OptionError(
                "response_store names a file, but stored_responses is 0, so that none are stored;"
                " leave one of them out."
            )
        for name in ("max_body_bytes", "max_choices", "text_threads"):
            value = getattr(self, name)
            if value < 1:
                raise OptionError(f"{name} is {value}; it must be at least 1.")

    @property
    def guarded(self) -> bool:
        """The API needs a key."""
        return bool(self.api_keys or self.api_key_files)

    @property
    def bind_host(self) -> str:
        """The address to listen on: everywhere only when a key guards it."""
        if self.host is not None:
            return self.host
        return "0.0.0.0" if self.guarded else "127.0.0.1"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should hear at start."""
        if self.guarded or _is_loopback(self.bind_host):
            return ()
        return (
            f"Listening on {self.bind_host} without an API key: anyone who can reach this machine"
            " can use the model. Set an API key, or listen on 127.0.0.1.",
        )


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise OptionError(f"{name} is {url!r}; it must be a URL such as http://127.0.0.1:4318.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
