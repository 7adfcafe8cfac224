"""What flags are worth: given on the command line, else by the environment, else by a
configuration file, else by default.

Environment and file become click's map of defaults for a command, so that its parameters are
declared once and know nothing of this.
"""

import difflib
import functools
import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from ftllm.cli.environment import (
    PREFIX,
    VARIABLES,
    is_service_link,
    set_variable,
    variables_of,
)
from ftllm.cli.messages import tell_error, tell_warning
from ftllm.cli.verb import Command, with_parameters
from ftllm.errors import OptionError

CONFIG: Final = "config"
_STATE: Final = "ftllm.configuration"  # in the context's meta
_NOT_SETTINGS: Final = frozenset({CONFIG, "help"})


class Parameter(Protocol):
    """What this needs of click's options and arguments."""

    name: Any
    opts: list[str]

    def process_value(self, ctx: Any, value: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """A flag or MODEL, as a file and the environment name it."""

    key: str
    parameter: Parameter

    @property
    def name(self) -> str:
        """In the command's signature."""
        return str(self.parameter.name)

    @property
    def repeatable(self) -> bool:
        return bool(getattr(self.parameter, "multiple", False))

    @property
    def secret(self) -> bool:
        """Declared with `hide_input`, click's mark of a password."""
        return bool(getattr(self.parameter, "hide_input", False))


@dataclass(frozen=True, slots=True)
class Given:
    """A value from a file or the environment, before the flag converts it."""

    values: tuple[str, ...]
    kind: str  # "env" or "file"
    origin: str  # the variable's name, or file:line
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a command was given beside its flags."""

    given: Mapping[str, Given]  # by the name in its signature
    warnings: tuple[str, ...]


def settings_of(command: Any) -> list[Setting]:
    """Those of a command, in the order of their declaration."""
    settings = [Setting(_key(parameter), parameter) for parameter in command.params]
    return [setting for setting in settings if setting.key not in _NOT_SETTINGS]


def configuration_of(context: typer.Context) -> Configuration:
    state = context.meta[_STATE]
    assert isinstance(state, Configuration)
    return state


def configurable(command: Command) -> Command:
    """Adds `--config`, and has all parameters take their values from file and environment."""
    own = list(inspect.signature(command).parameters.values())
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", keyword, annotation=typer.Context)
    config = inspect.Parameter(CONFIG, keyword, default=None, annotation=ConfigOption)

    @functools.wraps(command)
    def wrapper(*, context: typer.Context, config: Path | None, **values: Any) -> None:
        for warning in configuration_of(context).warnings:
            tell_warning(warning)
        command(**values)

    return with_parameters(wrapper, [context, *own, config])


def _configure(context: typer.Context, file: Path | None) -> Path | None:
    """The callback of `--config`, which click calls before it looks at other parameters."""
    if context.resilient_parsing:
        return file
    try:
        configuration = _gather(context, file)
    except OptionError as error:
        tell_error(str(error))
        raise typer.Exit(2) from None
    context.meta[_STATE] = configuration
    settings = {setting.name: setting for setting in settings_of(context.command)}
    context.default_map = {
        name: given.values if settings[name].repeatable else given.values[0]
        for name, given in configuration.given.items()
    }
    return file


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="YAML with the names of flags as keys; MODEL is called model. Also FTLLM_CONFIG."
        " Every flag can be given as FTLLM_FLAG in the environment, too: flags win over the"
        " environment, and that over the file.",
        show_default=False,
        is_eager=True,
        callback=_configure,
        envvar=f"{PREFIX}CONFIG",
        show_envvar=False,
    ),
]


def _gather(context: typer.Context, file: Path | None) -> Configuration:
    settings = {setting.key: setting for setting in settings_of(context.command)}
    known = _all_keys(context)
    given: dict[str, Given] = {}
    for key, entry in _from_file(file).items():
        if key not in known:
            raise OptionError(
                f"{entry.origin}: {key} is not a flag of ftllm{_near(key, settings, known)}"
            )
        if key in settings:  # one file may serve several verbs
            given[key] = entry
    warnings = _warnings(os.environ, known)
    for key, setting in settings.items():
        if (variable := set_variable(key, os.environ)) is None:
            continue
        name, value = variable
        values: tuple[str, ...] = (value,)
        if setting.repeatable:
            values = tuple(part.strip() for part in value.split(",") if part.strip())
        if values:
            given[key] = Given(values, "env", name, setting.repeatable)
    for key, entry in given.items():
        _check(context, settings[key], entry)
    return Configuration({settings[key].name: entry for key, entry in given.items()}, warnings)


def _from_file(file: Path | None) -> dict[str, Given]:
    if file is None:
        return {}
    from ftllm.cli.config_file import read_config_file  # here, so that --help loads no YAML

    return {
        entry.key: Given(entry.values, "file", entry.place, entry.is_list)
        for entry in read_config_file(file)
    }


def _check(context: typer.Context, setting: Setting, given: Given) -> None:
    """Raises `OptionError` unless the flag would take the value."""
    where = given.origin if given.kind == "env" else f"{given.origin}: {setting.key}"
    if given.is_list and not setting.repeatable:
        raise OptionError(f"{where} is a list; it must be one value.")
    try:
        setting.parameter.process_value(
            context, given.values if setting.repeatable else given.values[0]
        )
    except typer.BadParameter as error:
        shown = "" if setting.secret else f" {', '.join(map(repr, given.values))}"
        problem = error.message.replace("Input should be", "it must be").rstrip(".")
        raise OptionError(f"{where} is{shown or ' wrong'}; {problem}.") from None


def known_variables(keys: Iterable[str]) -> frozenset[str]:
    """Those of the flags `keys`, and all others."""
    names = {name for key in (*keys, CONFIG) for name in variables_of(key)}
    return frozenset(names | {variable.name for variable in VARIABLES})


def _warnings(environment: Mapping[str, str], known: Iterable[str]) -> tuple[str, ...]:
    """About variables that look like ours and are not."""
    names = known_variables(known)
    warnings = []
    for name in sorted(environment):
        value = environment[name]
        if not name.startswith(PREFIX):
            continue
        if is_service_link(name, value):
            if name in names:
                warnings.append(
                    f"{name} is {value!r}, which Kubernetes sets for a Service called ftllm, and"
                    f" no value for --{name.removeprefix(PREFIX).lower()}: it is left out."
                    " Set enableServiceLinks: false in the Pod, and such variables stay away."
                )
        elif name not in names:
            warnings.append(f"{name} is not a variable of ftllm{_near(name, names)}")
    return tuple(warnings)


def _near(name: str, *vocabularies: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: what is like it in the first that has such."""
    for known in vocabularies:
        if near := difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.7):
            return f"; did you mean {' or '.join(near)}?"
    return "."


def _all_keys(context: typer.Context) -> frozenset[str]:
    """Of every verb."""
    root: Any = context.find_root().command
    commands = [*getattr(root, "commands", {}).values(), context.command]
    return frozenset(setting.key for command in commands for setting in settings_of(command))


def _key(parameter: Parameter) -> str:
    return max(parameter.opts, key=len).lstrip("-").replace("-", "_")
