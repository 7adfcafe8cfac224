"""Flags, environment, configuration file and defaults, in this order."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from ftllm.cli.configuration import settings_of
from ftllm.cli.environment import VARIABLES
from ftllm.cli.main import app

VERBS = ("run", "server", "serve", "download", "bench")


def commands() -> dict[str, Any]:
    root: Any = typer.main.get_command(app)
    return {verb: root.commands[verb] for verb in VERBS}


def show(*arguments: str) -> dict[str, Any]:
    """The settings as JSON has them."""
    result = CliRunner().invoke(app, ["config", "show", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def setting(key: str, *arguments: str) -> tuple[Any, ...]:
    shown = show(*arguments)["settings"][key]
    return tuple(shown[name] for name in ("value", "source", "origin") if name in shown)


def refused(*arguments: str) -> str:
    """The line of a command that the user has to change."""
    result = CliRunner().invoke(app, [*arguments])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ftllm.yaml"


def test_precedence(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting("max_batch") == (64, "default")
    file.write_text("port: 1\nmax_batch: 2\n")
    config = ("--config", str(file))
    assert setting("max_batch", *config) == (2, "file", f"{file}:2")
    monkeypatch.setenv("FTLLM_MAX_BATCH", "3")
    assert setting("max_batch", *config) == (3, "env", "FTLLM_MAX_BATCH")
    assert setting("max_batch", *config, "--max-batch", "4") == (4, "flag")
    assert setting("port", *config) == (1, "file", f"{file}:1")


def test_a_flag_that_says_the_default_is_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLLM_PORT", "99")
    assert setting("port", "--port", "8080") == (8080, "flag")


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_has_a_variable_and_a_key(
    verb: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text"
    text.write_text("x")
    paths = {"chat_template": text, "models_file": text, "ori": tmp_path, "cache_dir": tmp_path}
    defaults = show("--verb", verb)["settings"]
    assert all(each["source"] == "default" for each in defaults.values())
    values = {
        each.key: "true"
        if isinstance(defaults[each.key]["value"], bool)
        else str(paths.get(each.key, 7))
        for each in settings_of(commands()[verb])
    }
    file.write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    from_file = show("--verb", verb, "--config", str(file))["settings"]
    for key, value in values.items():
        monkeypatch.setenv(f"FTLLM_{key.upper()}", value)
    from_environment = show("--verb", verb)["settings"]
    for line, key in enumerate(values, 1):
        name = f"FTLLM_{key.upper()}"
        assert (from_file[key]["source"], from_file[key]["origin"]) == ("file", f"{file}:{line}")
        assert (from_environment[key]["source"], from_environment[key]["origin"]) == ("env", name)
        assert from_file[key]["value"] == from_environment[key]["value"] != defaults[key]["value"]


def test_the_file_may_be_named_by_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("model: some/model\n")
    monkeypatch.setenv("FTLLM_CONFIG", str(file))
    assert setting("model") == ("some/model", "file", f"{file}:1")
    assert setting("model", "other/model") == ("other/model", "flag")


def test_values_are_read_as_a_flag_reads_them(file: Path) -> None:
    file.write_text(
        "pin: on\nthink: off\nrevision: 0123\nkeep-alive: 2.5\nhide_input: yes\nlenient: false\n"
    )
    settings = show("--config", str(file))["settings"]
    values = {key: settings[key]["value"] for key in yaml.safe_load("[pin, think, revision]")}
    assert values == {"pin": "on", "think": "off", "revision": "0123"}
    assert settings["keep_alive"]["value"] == 2.5
    assert settings["hide_input"]["value"] is True
    assert settings["lenient"] == {"value": False, "source": "file", "origin": f"{file}:6"}


def test_lists(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("api_key_file: [a, b]\ninclude: one\n")
    config = ("--config", str(file))
    assert setting("api_key_file", *config) == (["a", "b"], "file", f"{file}:1")
    assert setting("include", "--verb", "download", *config) == (["one"], "file", f"{file}:2")
    monkeypatch.setenv("FTLLM_API_KEY_FILE", "c, d:e,")
    assert setting("api_key_file", *config) == (["c", "d:e"], "env", "FTLLM_API_KEY_FILE")
    assert setting("api_key_file", *config, "--api_key_file", "f") == (["f"], "flag")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prot: 1", "{}:1: prot is not a flag of ftllm; did you mean port?"),
        ("port: 1\nmax_bach: 2", "{}:2: max_bach is not a flag of ftllm; did you mean max_batch"),
        ("zzz: 1", "{}:1: zzz is not a flag of ftllm."),
        ("config: x", "{}:1: config is not a flag of ftllm"),
        ("port: 1\n\nport: 2", "{}:3: port is given twice; the first is at {}:1."),
        ("max_batch: 1\nmax-batch: 2", "{}:2: max_batch is given twice"),
        ("port:", "{}:1: port is empty"),
        ("port: ''", "{}:1: port is empty"),
        ("port: {a: 1}", "{}:1: port has a mapping where one value is expected."),
        ("port: [1]", "{}:1: port is a list; it must be one value."),
        ("api_key: [[a]]", "{}:1: api_key has a list where one value is expected."),
        ("port: !env P", "{}:1: port has the tag !env"),
        ("[1]: 2", "{}:1: a key must be the name of a flag."),
        ("- port", "{}: the configuration must be a mapping"),
        ("port: 1\nhost: [", "{}:2: not valid YAML."),
    ],
)
def test_what_is_wrong_with_a_file(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    line = refused("server", "--config", str(file))
    assert line.startswith(message.replace("{}", str(file)))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("port", "many", "integer"),
        ("port", "70000", "65535"),
        ("port", "true", "integer"),
        ("max_batch", "1.5", "integer"),
        ("keep_alive", "long", "number|float"),
        ("keep_alive", "-1", "0"),
        ("hide_input", "perhaps", "boolean"),
        ("chat_template", "/nowhere/at/all", "does not exist"),
    ],
)
def test_a_value_that_the_flag_would_not_take(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, expected: str
) -> None:
    file.write_text(f"host: a\n{key}: {value}\n")
    line = refused("server", "--config", str(file))
    assert line.startswith(f"{file}:2: {key} is {value!r}; ")
    assert re.search(expected, line)
    monkeypatch.setenv(f"FTLLM_{key.upper()}", value)
    line = refused("server")
    assert line.startswith(f"FTLLM_{key.upper()} is {value!r}; ")
    assert re.search(expected, line)


def test_a_file_that_cannot_be_read(tmp_path: Path, file: Path) -> None:
    assert "cannot read the configuration" in refused("run", "--config", str(tmp_path / "none"))
    assert "cannot read the configuration" in refused("bench", "--config", str(tmp_path))
    file.write_bytes(b"model: \xff\n")
    assert "not UTF-8" in refused("download", "--config", str(file))


def test_one_file_for_several_verbs(file: Path) -> None:
    file.write_text("max_batch: 3\nport: 1\ntemperature: 0.5\n")
    config = ("--config", str(file))
    assert setting("max_batch", *config, "--verb", "run") == (3, "file", f"{file}:1")
    assert "port" not in show(*config, "--verb", "run")["settings"]


def warnings_of(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["config", "show", *arguments])
    assert result.exit_code == 0
    return [line.removeprefix("Warning: ") for line in result.stderr.splitlines()]


def test_unknown_variables_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings_of() == []
    monkeypatch.setenv("FTLLM_MAX_BACH", "3")
    monkeypatch.setenv("FTLLM_QQQ", "3")
    monkeypatch.setenv("FTLLM_TEMPERATURE", "0.5")  # of another verb
    first, second = warnings_of()
    assert first.startswith("FTLLM_MAX_BACH is not a variable of ftllm; did you mean FTLLM_MAX_BAT")
    assert second == "FTLLM_QQQ is not a variable of ftllm."


def test_variables_that_kubernetes_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FTLLM_SERVICE_HOST": "10.0.0.1",
        "FTLLM_SERVICE_PORT": "80",
        "FTLLM_SERVICE_PORT_HTTP": "80",
        "FTLLM_PORT_80_TCP": "tcp://10.0.0.1:80",
        "FTLLM_PORT_80_TCP_PROTO": "tcp",
        "FTLLM_PORT_80_TCP_PORT": "80",
        "FTLLM_PORT_80_TCP_ADDR": "10.0.0.1",
        "FTLLM_CANARY_PORT": "tcp://10.0.0.2:80",
    }.items():
        monkeypatch.setenv(name, value)
    assert warnings_of() == []
    monkeypatch.setenv("FTLLM_PORT", "tcp://10.0.0.1:80")
    (warning,) = warnings_of()
    assert "FTLLM_PORT is 'tcp://10.0.0.1:80', which Kubernetes sets for a Service" in warning
    assert "enableServiceLinks: false" in warning
    assert setting("port") == (8080, "default")


def test_older_names_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLLM_CACHE", str(tmp_path))
    assert setting("cache_dir") == (str(tmp_path), "env", "FTLLM_CACHE")
    monkeypatch.setenv("FTLLM_CACHE_DIR", "/elsewhere")
    assert setting("cache_dir") == ("/elsewhere", "env", "FTLLM_CACHE_DIR")
    monkeypatch.setenv("FTLLM_API_KEYS", "the-secret")
    monkeypatch.setenv("FTLLM_ISA", "scalar")
    assert show()["variables"] == {
        "FTLLM_API_KEYS": {"value": "(hidden)", "source": "env", "origin": "FTLLM_API_KEYS"},
        "FTLLM_ISA": {"value": "scalar", "source": "env", "origin": "FTLLM_ISA"},
    }


@pytest.mark.parametrize("form", [[], ["--json"], ["--yaml"]])
def test_secrets_are_never_printed(
    file: Path, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    file.write_text("api_key: [the-secret, the-secret-2]\n")
    monkeypatch.setenv("FTLLM_ADMIN_API_KEY", "the-secret")
    monkeypatch.setenv("FTLLM_METRICS_KEYS", "the-secret")
    flags = ("--metrics_key", "the-secret", "--otlp_endpoint", "http://user:the-secret@host:1")
    result = CliRunner().invoke(app, ["config", "show", *form, "--config", str(file), *flags])
    assert result.exit_code == 0, result.output
    assert "the-secret" not in result.output
    assert result.output.count("(hidden)") == 4
    monkeypatch.setenv("FTLLM_API_KEY", "the-secret")
    shown = CliRunner().invoke(app, ["config", "show", *form, "--verb", "bench"])
    assert "the-secret" not in shown.output


def test_flags_that_sound_secret_are() -> None:
    sounds = re.compile("key|secret|password")
    for command in commands().values():
        for each in settings_of(command):
            if sounds.search(each.key) and not each.key.endswith("file"):
                assert each.secret, f"--{each.key}: declare it with hide_input"


def test_table_and_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLLM_PORT", "99")
    monkeypatch.setenv("COLUMNS", "100")
    table = CliRunner().invoke(app, ["config", "show", "-t", "3", "the/model"]).stdout
    rows = [line.split() for line in table.splitlines()]
    assert ["port", "99", "env", "FTLLM_PORT"] in rows
    assert ["threads", "3", "flag"] in rows
    assert ["model", "the/model", "flag"] in rows
    assert ["hide_input", "false", "default"] in rows
    text = CliRunner().invoke(app, ["config", "show", "--yaml", "-t", "3", "the/model"]).stdout
    assert yaml.safe_load(text) == show("-t", "3", "the/model")


def test_show_refuses_what_the_verb_would() -> None:
    for arguments in (["--prot", "1"], ["--verb", "sing"], ["--json", "--yaml"], ["--port", "x"]):
        result = CliRunner().invoke(app, ["config", "show", *arguments])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


def test_the_documentation_has_every_further_variable() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    for variable in VARIABLES:
        assert f"| `{variable.name}` | " in text
