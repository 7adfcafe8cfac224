"""What a verb tells beside its output: on stderr, as JSON where the log is JSON."""

import logging

import typer

from ftllm.server.log_format import logs_json

cli_log = logging.getLogger("ftllm.cli")


def tell_error(message: str) -> None:
    if logs_json():
        cli_log.error("%s", message)
    else:
        typer.secho(f"Error: {message}", err=True, fg=typer.colors.RED)


def tell_warning(message: str) -> None:
    if logs_json():
        cli_log.warning("%s", message)
    else:
        typer.secho(f"Warning: {message}", err=True, fg=typer.colors.YELLOW)


def tell(line: str) -> None:
    """Such as what a loaded model is like."""
    if logs_json():
        cli_log.info("%s", line)
    else:
        typer.echo(line, err=True)
