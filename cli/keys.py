"""`ftllm keys`: API keys for a server's file of keys."""

from pathlib import Path
from typing import Annotated

import typer

from ftllm.cli.verb import reports_errors

LIMITS_PANEL = "What it may use"

keys = typer.Typer(name="keys", help="Make and list API keys.", no_args_is_help=True)


@keys.command("new")
@reports_errors
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose key it is; in logs and metrics.")
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Add the entry to this YAML file (for --api_key_file), which is made if need be.",
            show_default=False,
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None,
        typer.Option(
            "--requests_per_minute",
            min=1,
            metavar="N",
            help="Requests in any 60 seconds.",
            show_default=False,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    tokens_per_minute: Annotated[
        int | None,
        typer.Option(
            "--tokens_per_minute",
            min=1,
            metavar="N",
            help="Tokens of prompts and answers in any 60 seconds.",
            show_default=False,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(
            "--max_concurrency",
            min=1,
            metavar="N",
            help="Requests at once.",
            show_default=False,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
    priority: Annotated[
        int,
        typer.Option(
            "--priority",
            min=-(2**31) + 1,
            max=2**31 - 1,
            metavar="N",
            help="Of its requests; lower runs first.",
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = 0,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model that it may use; repeatable. Default: all.",
            show_default=False,
            rich_help_panel=LIMITS_PANEL,
        ),
    ] = None,
) -> None:
    """Make a random key of 256 bits. It is printed this once; the file has only its hash.

    Without --file the entry is printed, too. A server reads its file again on SIGHUP.
    """
    from ftllm.server.api_key import KeyLimits  # here, so that --help loads no server
    from ftllm.server.key_entry import KeyEntry, append_entry, make_key

    limits = KeyLimits(
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        max_concurrency=max_concurrency,
    )
    key = make_key()
    entry = KeyEntry.of(key, name=name, limits=limits, priority=priority, models=tuple(model or ()))
    if file is None:
        typer.echo(f"{key}\n\n{entry.as_item()}", nl=False)
        return
    append_entry(file, entry)
    typer.echo(key)
    typer.echo(f"{file} has its hash; send SIGHUP to a server that runs with it.", err=True)


@keys.command("list")
@reports_errors
def list_keys(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of keys.")],
) -> None:
    """List the keys of FILE: names and limits, no secrets."""
    from rich.console import Console
    from rich.table import Table

    from ftllm.server.key_file import read_key_file

    table = Table("name", "requests/min", "tokens/min", "at once", "priority", "models", box=None)
    for key in read_key_file(file):
        limits = key.limits
        counts = (limits.requests_per_minute, limits.tokens_per_minute, limits.max_concurrency)
        table.add_row(
            key.name or "-",
            *("-" if count is None else str(count) for count in counts),
            str(key.priority),
            "all" if key.models is None else ", ".join(sorted(key.models)),
        )
    Console().print(table)
