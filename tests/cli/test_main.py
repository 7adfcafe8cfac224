"""The command as a whole: its verbs, the spelling of flags, errors."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import ftllm
import ftllm.loading
from ftllm.cli.main import app
from ftllm.errors import CheckpointError, FtllmError, ModelSourceError, OptionError
from ftllm.loading import LoadedModel, LoadOptions
from ftllm.progress import Progress


def fail_to_load(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def load(options: LoadOptions, *, progress: Progress) -> LoadedModel:
        raise error

    monkeypatch.setattr(ftllm.loading, "load_model", load)


@pytest.mark.parametrize("flag", ["-v", "--version"])
def test_version(flag: str) -> None:
    result = CliRunner().invoke(app, [flag])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"ftllm {ftllm.__version__}"


def test_help_lists_the_verbs() -> None:
    result = CliRunner().invoke(app, ["-h"])
    assert result.exit_code == 0
    for verb in ("run", "server", "download", "bench"):
        assert verb in result.stdout


@pytest.mark.parametrize("verb", ["run", "server", "serve", "download", "bench"])
def test_help_of_a_verb_needs_no_model(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "MODEL" in result.stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelSourceError("no such model"), 2),
        (OptionError("no such dtype"), 2),
        (CheckpointError("damaged"), 2),
        (FtllmError("out of luck"), 1),
        (ZeroDivisionError("a bug"), 1),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    fail_to_load(monkeypatch, error)
    result = CliRunner().invoke(app, ["server"])
    assert result.exit_code == code
    assert str(error) in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


def test_debug_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    error = FtllmError("out of luck")
    fail_to_load(monkeypatch, error)
    result = CliRunner().invoke(app, ["server", "--debug"])
    assert result.exception is error


def test_interrupt_has_the_shells_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_load(monkeypatch, KeyboardInterrupt())
    assert CliRunner().invoke(app, ["server"]).exit_code == 130


@pytest.mark.parametrize(
    "arguments", [["--no_such_flag"], ["--max_batch", "0"], ["--port", "70000"], ["--top_p", "0"]]
)
def test_bad_options_are_user_errors(arguments: list[str]) -> None:
    verb = "run" if arguments[0] == "--top_p" else "server"
    result = CliRunner().invoke(app, [verb, *arguments])
    assert result.exit_code == 2
    assert arguments[0].strip("-").replace("_", "-") in result.stderr.replace("_", "-")


def test_import_is_light() -> None:
    program = (
        "import sys, ftllm; assert ftllm.__version__\n"
        "heavy = {'numpy', 'rich', 'tokenizers', 'ftllm.engine.engine'} & set(sys.modules)\n"
        "print(sorted(heavy), 'LLM' in dir(ftllm), ftllm.SamplingParams.__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[] True SamplingParams\n"


def test_the_command_is_light() -> None:
    """Until a verb runs."""
    program = (
        "import sys, ftllm.cli.main\n"
        "print({'numpy', 'starlette', 'yaml', 'tokenizers', 'opentelemetry'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


def test_unknown_attribute_of_the_package() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LMM'"):
        getattr(ftllm, "LMM")  # noqa: B009
