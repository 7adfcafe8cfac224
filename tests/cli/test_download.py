"""`ftllm download` hands its flags on and prints the path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ftllm.sources.download
from ftllm.cli.main import app
from ftllm.errors import ModelSourceError
from ftllm.progress import Progress


@dataclass(frozen=True)
class Fetched:
    model: str | None
    local_dir: Path | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    revision: str | None


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[Fetched]:
    calls: list[Fetched] = []

    def download(
        model: str | None,
        *,
        local_dir: Path | None,
        include: Sequence[str],
        exclude: Sequence[str],
        cache_dir: Path | None,
        revision: str | None,
        models_file: Path | None,
        progress: Progress,
    ) -> Path:
        if model == "typo":
            raise ModelSourceError("typo is not a model; did you mean type?")
        calls.append(Fetched(model, local_dir, tuple(include), tuple(exclude), revision))
        return Path("/there/model.gguf")

    monkeypatch.setattr(ftllm.sources.download, "download", download)
    return calls


def test_prints_where_the_model_is(fetched: list[Fetched]) -> None:
    result = CliRunner().invoke(app, ["download"])
    assert result.exit_code == 0
    assert result.stdout == "/there/model.gguf\n"
    assert fetched == [Fetched(None, None, (), (), None)]


def test_flags(fetched: list[Fetched], tmp_path: Path) -> None:
    arguments = ["download", "a/b", "--local-dir", str(tmp_path), "--include", "*.json"]
    arguments += ["--include", "*.safetensors", "--exclude", "x*", "--revision", "main"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert fetched == [Fetched("a/b", tmp_path, ("*.json", "*.safetensors"), ("x*",), "main")]


def test_unknown_model(fetched: list[Fetched]) -> None:
    result = CliRunner().invoke(app, ["download", "typo"])
    assert result.exit_code == 2
    assert result.stderr == "Error: typo is not a model; did you mean type?\n"
