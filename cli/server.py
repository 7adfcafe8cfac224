"""`ftllm server`: the OpenAI-compatible HTTP server."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftllm.cli.api_keys import collect_admin_keys, collect_api_keys, collect_metrics_keys
from ftllm.cli.configuration import configurable
from ftllm.cli.limit_options import LIMITS_PANEL, limit_options
from ftllm.cli.load_options import load_options
from ftllm.cli.log_options import LogOptions, load_progress, log_options
from ftllm.cli.messages import tell
from ftllm.cli.tls_options import tls_options
from ftllm.cli.verb import option_group, reports_errors

if TYPE_CHECKING:
    from ftllm.loading import LoadOptions
    from ftllm.server.request_limits import RequestLimits
    from ftllm.server.tls_files import TlsFiles

SERVER_PANEL = "Server"


@reports_errors
@option_group("log", log_options)
@configurable
@option_group("load", load_options)
@option_group("limits", limit_options)
@option_group("tls", tls_options)
def server(
    load: "LoadOptions",
    limits: "RequestLimits",
    tls: "TlsFiles | None",
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            help="Address to listen on. Default: 127.0.0.1, or 0.0.0.0 with an API key.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, help="0 = any.", rich_help_panel=SERVER_PANEL),
    ] = 8080,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api_key",
            metavar="KEY|@FILE",
            hide_input=True,
            help="A key that clients must send; repeatable. FTLLM_API_KEYS (comma separated) and"
            " files keep it out of the process list.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    api_key_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--api_key_file",
            metavar="FILE",
            help="A file with a key and, if wanted, a name a line, or YAML, which may set limits;"
            " repeatable. Read again on SIGHUP. See `ftllm keys new`.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    admin_api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--admin_api_key",
            metavar="KEY|@FILE",
            hide_input=True,
            help="A key for admin routes, and for all others; repeatable. FTLLM_ADMIN_API_KEYS"
            " is another way.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    metrics_key: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics_key",
            metavar="KEY|@FILE",
            hide_input=True,
            help="A key for /metrics, which is public without one; repeatable. FTLLM_METRICS_KEYS"
            " is another way.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    metrics_prefix: Annotated[
        str,
        typer.Option(
            "--metrics_prefix",
            metavar="NAME",
            help="What the names in /metrics begin with. vllm: dashboards and routers made for it"
            " fit.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = "ftllm",
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain_timeout",
            min=0,
            metavar="SECONDS",
            help="How long running requests may take to finish after SIGTERM.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 30.0,
    stall_timeout: Annotated[
        float,
        typer.Option(
            "--stall_timeout",
            min=0,
            metavar="SECONDS",
            help="How long one step of the engine may take before /live and /ready fail.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 60.0,
    keep_alive: Annotated[
        float,
        typer.Option(
            "--keep_alive",
            min=0,
            metavar="SECONDS",
            help="Silence in a stream after which a comment is sent, so that nobody hangs up; 0 ="
            " never.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 15.0,
    tool_call_parser: Annotated[
        str,
        typer.Option(
            "--tool_call_parser",
            metavar="NAME|auto|none",
            help="How the model writes tool calls. auto: told by its chat template.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = "auto",
    reasoning_parser: Annotated[
        str,
        typer.Option(
            "--reasoning_parser",
            metavar="NAME|auto|none",
            help="How the model marks its thinking. auto: told by its chat template.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = "auto",
    think: Annotated[
        str,
        typer.Option(
            "--think",
            metavar="auto|on|off",
            help="Whether the model thinks when a request does not say. auto: as its chat template"
            " has it.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = "auto",
    stored_responses: Annotated[
        int,
        typer.Option(
            "--stored_responses",
            min=0,
            metavar="N",
            help="Answers of /v1/responses that are kept in memory, the oldest making way; 0 ="
            " none.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 1000,
    response_store: Annotated[
        Path | None,
        typer.Option(
            "--response_store",
            metavar="FILE",
            help="A file of SQLite that holds the responses of /v1/responses over a restart."
            " Default: in memory.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    stored_megabytes: Annotated[
        int,
        typer.Option(
            "--stored_megabytes",
            min=0,
            metavar="N",
            help="What these may have together, with the conversations before them.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 256,
    max_body_mb: Annotated[
        int,
        typer.Option(
            "--max_body_mb",
            min=1,
            metavar="N",
            help="Size of a request's body, in MiB.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 16,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--cors_origin",
            metavar="ORIGIN",
            help="Pages of this origin, such as https://example.com, may call the API from a"
            " browser; repeatable, * = all.",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(
            "--otlp_endpoint",
            metavar="URL",
            help="Send a trace of every request to this OTLP/HTTP collector, such as"
            " http://127.0.0.1:4318. Needs ftllm[otel].",
            show_default=False,
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    lenient: Annotated[
        bool,
        typer.Option(
            "--lenient",
            help="Ignore unknown request fields instead of refusing them.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = False,
    *,
    log: LogOptions,
) -> None:
    """Serve MODEL over HTTP with an OpenAI-compatible API."""
    from ftllm.loading import load_model  # here, so that --help loads no engine
    from ftllm.server.run import serve
    from ftllm.server.settings import ServerSettings

    keys = collect_api_keys(api_key or (), api_key_file or (), os.environ)
    settings = ServerSettings(
        host=host,
        port=port,
        api_keys=keys.keys,
        api_key_files=keys.files,
        admin_api_keys=collect_admin_keys(admin_api_key or (), os.environ),
        metrics_keys=collect_metrics_keys(metrics_key or (), os.environ),
        metrics_prefix=metrics_prefix,
        drain_timeout=drain_timeout,
        stall_timeout=stall_timeout,
        keep_alive=keep_alive,
        tool_call_parser=tool_call_parser,
        reasoning_parser=reasoning_parser,
        think=think,
        stored_responses=stored_responses,
        response_store=response_store,
        stored_bytes=stored_megabytes * 2**20,
        limits=limits,
        tls=tls,
        max_body_bytes=max_body_mb * 2**20,
        cors_origins=tuple(dict.fromkeys(cors_origin or ())),
        hide_input=log.hide_input,
        log_level=log.level,
        log_format=log.form,
        otlp_endpoint=otlp_endpoint,
        lenient=lenient,
    )
    model = load_model(load, progress=load_progress())
    for line in model.summary:
        tell(line)
    raise typer.Exit(serve(model, settings))
