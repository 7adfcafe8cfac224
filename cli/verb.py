"""What every verb of the command line shares: groups of options, and errors told in one line."""

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from ftllm.cli.messages import tell_error
from ftllm.errors import (
    CheckpointError,
    FtllmError,
    ModelSourceError,
    OptionError,
    RequestError,
)

# What the user asked for cannot be done: exit code 2. All others: 1.
USER_ERRORS = (OptionError, ModelSourceError, CheckpointError, RequestError)
INTERRUPTED = 130  # what shells report for SIGINT

Command = Callable[..., None]

DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", hidden=True)
]


def option_group(name: str, build: Callable[..., Any]) -> Callable[[Command], Command]:
    """Declares the parameters of `build` as options of a command, which gets what `build` makes
    of them as its parameter `name`, in whose place they stand. So a group of options is declared
    once for several verbs.
    """
    group = inspect.signature(build).parameters

    def decorate(command: Command) -> Command:
        own = inspect.signature(command).parameters
        parameters: list[inspect.Parameter] = []
        for key, parameter in own.items():
            parameters += group.values() if key == name else (parameter,)

        @functools.wraps(command)
        def wrapper(**values: Any) -> None:  # called by typer with the parameters set below
            built = build(**{key: values.pop(key) for key in group})
            command(**values, **{name: built})

        return with_parameters(wrapper, parameters)

    return decorate


def reports_errors(command: Command) -> Command:
    """Adds `--debug`; without it an error is one line on stderr and an exit code."""
    debug = inspect.Parameter(
        "debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=DebugOption
    )

    @functools.wraps(command)
    def wrapper(*, debug: bool, **values: Any) -> None:
        try:
            command(**values)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise  # typer's own business
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            if debug:
                raise
            tell_error(_describe(error))
            raise typer.Exit(2 if isinstance(error, USER_ERRORS) else 1) from None

    return with_parameters(wrapper, [*inspect.signature(command).parameters.values(), debug])


def _describe(error: Exception) -> str:
    if isinstance(error, FtllmError):
        return str(error)
    return f"{type(error).__name__}: {error} (unexpected; run again with --debug for the traceback)"


def with_parameters(wrapper: Command, parameters: Iterable[inspect.Parameter]) -> Command:
    """`wrapper` with the signature that typer is to see."""
    keyword_only = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters
    ]
    setattr(wrapper, "__signature__", inspect.Signature(keyword_only))  # noqa: B010
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
    return wrapper
