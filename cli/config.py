"""`ftllm config show`: what the flags of a verb are worth, and where each value comes from."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ftllm.cli.configuration import Setting, configuration_of, settings_of
from ftllm.cli.environment import VARIABLES
from ftllm.cli.messages import tell_warning

HIDDEN: Final = "(hidden)"
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")

app = typer.Typer(help="Look at the configuration.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """A value and its source: flag, env, file or default."""

    value: Any
    source: str
    origin: str | None = None  # the variable's name, or file:line


@app.command("show", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def show(
    context: typer.Context,
    verb: Annotated[
        str, typer.Option("--verb", help="Whose flags: server, run, bench or download.")
    ] = "server",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML.")] = False,
) -> None:
    """Print what `ftllm server` would run with: each value, and whether it is from a flag, the
    environment, a file (--config) or the default. Takes the flags of the server, or of --verb.

    Keys are never printed.
    """
    if as_json and as_yaml:
        raise typer.BadParameter("--json and --yaml exclude each other.")
    command = _command(context, verb)
    with command.make_context(verb, list(context.args), parent=context) as parsed:
        for warning in configuration_of(parsed).warnings:
            tell_warning(warning)
        settings = {setting.key: _shown(parsed, setting) for setting in settings_of(command)}
    further = _further_variables(os.environ)
    if as_json or as_yaml:
        entries = {
            "verb": verb,
            "settings": {key: _plain(shown) for key, shown in settings.items()},
            "variables": {name: _plain(shown) for name, shown in further.items()},
        }
        typer.echo(_text(entries, as_json=as_json), nl=False)
    else:
        _print_table({**settings, **further})


def _command(context: typer.Context, verb: str) -> Any:
    root: Any = context.find_root().command
    commands = {name: each for name, each in root.commands.items() if settings_of(each)}
    if verb not in commands:
        raise typer.BadParameter(
            f"{verb!r} is no verb with flags; it must be {', '.join(sorted(commands))}.",
            param_hint="--verb",
        )
    return commands[verb]


def _shown(parsed: typer.Context, setting: Setting) -> Shown:
    value = parsed.params[setting.name]
    if setting.secret and value:
        value = HIDDEN
    source = parsed.get_parameter_source(setting.name)
    if source is not None and source.name == "COMMANDLINE":
        return Shown(_printable(value), "flag")
    given = configuration_of(parsed).given.get(setting.name)
    if given is None:
        return Shown(_printable(value), "default")
    return Shown(_printable(value), given.kind, given.origin)


def _further_variables(environment: Mapping[str, str]) -> dict[str, Shown]:
    """Those that are set and belong to no flag."""
    return {
        variable.name: Shown(
            HIDDEN if variable.secret else environment[variable.name], "env", variable.name
        )
        for variable in VARIABLES
        if variable.key is None and environment.get(variable.name)
    }


def _printable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    if isinstance(value, Path | str):
        return _CREDENTIALS.sub("…@", str(value))
    return value


def _plain(shown: Shown) -> dict[str, Any]:
    return {name: each for name, each in asdict(shown).items() if name != "origin" or each}


def _text(entries: Mapping[str, Any], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
    import yaml

    return str(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True))


def _print_table(rows: Mapping[str, Shown]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("flag", "value", "from"):
        table.add_column(heading, overflow="fold")
    for key, shown in rows.items():
        value = "" if shown.value in (None, [], ()) else _cell(shown.value)
        source = " ".join(filter(None, (shown.source, shown.origin)))
        table.add_row(Text(key), Text(value), Text(source))
    Console().print(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
