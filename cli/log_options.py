"""The options of the server's log, which is set up before anything else happens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ftllm.errors import OptionError
from ftllm.server.log_config import FORMATS, LEVELS, set_up_logging
from ftllm.server.log_format import logs_json

if TYPE_CHECKING:
    from ftllm.progress import Progress

LOG_PANEL = "Log"


@dataclass(frozen=True, slots=True)
class LogOptions:
    level: str
    form: str
    hide_input: bool


def log_options(
    log_format: Annotated[
        str,
        typer.Option(
            "--log_format",
            metavar="text|json",
            help="Lines for people, or a JSON object a line.",
            rich_help_panel=LOG_PANEL,
        ),
    ] = "text",
    log_level: Annotated[
        str,
        typer.Option(
            "--log_level",
            metavar="LEVEL",
            help="critical, error, warning, info, or debug, which has the prompts, too.",
            rich_help_panel=LOG_PANEL,
        ),
    ] = "info",
    hide_input: Annotated[
        bool,
        typer.Option(
            "--hide_input",
            help="Never write prompts to the log, at any level.",
            rich_help_panel=LOG_PANEL,
        ),
    ] = False,
) -> LogOptions:
    """Sets up the log of this process."""
    for flag, value, choices in (
        ("--log_format", log_format, FORMATS),
        ("--log_level", log_level, LEVELS),
    ):
        if value not in choices:
            raise OptionError(f"{flag} is {value!r}; it must be {', '.join(choices)}.")
    set_up_logging(level=log_level, form=log_format, hide_input=hide_input)
    return LogOptions(log_level, log_format, hide_input)


def load_progress() -> "Progress":
    """Bars, or lines where the log is JSON."""
    from ftllm.cli.log_progress import LogProgress
    from ftllm.progress import RichProgress

    return LogProgress() if logs_json() else RichProgress()
