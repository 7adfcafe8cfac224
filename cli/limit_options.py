"""The options that bound requests, whoever sends them."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ftllm.server.request_limits import RequestLimits

LIMITS_PANEL = "Limits"


def limit_options(
    max_header_kb: Annotated[
        int,
        typer.Option(
            "--max_header_kb",
            min=1,
            metavar="N",
            help="Size of a request's line and headers, in KiB.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 64,
    header_timeout: Annotated[
        float,
        typer.Option(
            "--header_timeout",
            min=0,
            metavar="SECONDS",
            help="How long a client may take to send them, and a new connection to say anything; 0"
            " = for ever.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 15.0,
    body_timeout: Annotated[
        float,
        typer.Option(
            "--body_timeout",
            min=0,
            metavar="SECONDS",
            help="How long it may then take to send the body; 0 = for ever.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 120.0,
    send_timeout: Annotated[
        float,
        typer.Option(
            "--send_timeout",
            min=0,
            metavar="SECONDS",
            help="A client that reads nothing for so long, while data waits for it, is cut off; 0 ="
            " never.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 60.0,
    max_connections: Annotated[
        int,
        typer.Option(
            "--max_connections",
            min=0,
            metavar="N",
            help="Connections at once; requests on more get 503. 0 = any number.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 2048,
    queue_timeout: Annotated[
        float,
        typer.Option(
            "--queue_timeout",
            min=0,
            metavar="SECONDS",
            help="How long a request may wait in the queue before it gets 503; 0 = for ever.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 0.0,
    request_timeout: Annotated[
        float,
        typer.Option(
            "--request_timeout",
            min=0,
            metavar="SECONDS",
            help="How long a request may take altogether before it is ended with 504; 0 = for"
            " ever.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 0.0,
) -> "RequestLimits":
    """Gathers them."""
    from ftllm.server.request_limits import RequestLimits  # here, so that --help loads no server

    return RequestLimits(
        max_header_bytes=max_header_kb * 1024,
        header_timeout=header_timeout,
        body_timeout=body_timeout,
        send_timeout=send_timeout,
        max_connections=max_connections,
        queue_timeout=queue_timeout,
        request_timeout=request_timeout,
    )
