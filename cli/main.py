"""The `ftllm` command: its verbs, and how their flags may be spelled."""

from typing import Annotated

import typer

import ftllm
from ftllm.cli import config
from ftllm.cli.bench import bench
from ftllm.cli.download import download
from ftllm.cli.keys import keys
from ftllm.cli.run import run
from ftllm.cli.server import server

app = typer.Typer(
    name="ftllm",
    help="Serve large language models behind an OpenAI-compatible API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={
        "help_option_names": ["-h", "--help"],
        # Applied to the names of options only, never to their values: --max-batch = --max_batch.
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ftllm {ftllm.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "-v", "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None:
    """Serve large language models behind an OpenAI-compatible API.

    Every flag may be spelled with "_" or "-", and given in the environment or a file: --config.
    """


app.command("run")(run)
app.command("server")(server)
app.command("serve", hidden=True)(server)
app.command("download")(download)
app.command("bench")(bench)
app.add_typer(keys)
app.add_typer(config.app, name="config")


def main() -> None:
    """The entry point of the installed command."""
    app()
