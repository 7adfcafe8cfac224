"""The installed `ftllm` command, as a user types it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from running_server import clean_environment, ftllm_command

from .servers import MODELS_FILE

pytestmark = pytest.mark.e2e

SMALL = ("--tokens", "2048", "--temperature", "0", "--max_tokens", "12")


def ftllm(
    *arguments: str, stdin: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ftllm_command(), *arguments],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean_environment(), "FTLLM_MODELS_FILE": str(MODELS_FILE), **(environment or {})},
        check=False,
    )


def failed_in_one_line(run: subprocess.CompletedProcess[str]) -> str:
    """The error line of a command that the user has to change."""
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version(flag: str) -> None:
    run = ftllm(flag)
    assert (run.returncode, run.stdout) == (0, f"ftllm {importlib.metadata.version('ftllm')}\n")


def test_run_answers_a_prompt(model_file: Callable[[str], Path]) -> None:
    model_file("qwen2.5-coder-0.5b")
    question = "What is the capital of France?"
    run = ftllm("run", "qwen2.5-coder-0.5b", "--prompt", question, *SMALL)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "The capital of France is Paris.\n"
    assert re.search(r"[\d.]+ tok/s", run.stderr)


def test_run_answers_what_is_piped_in(model_file: Callable[[str], Path]) -> None:
    """The model is a base model, so it continues the text."""
    model_file("gemma3-270m")
    run = ftllm("run", "gemma3-270m", *SMALL, stdin="Water freezes at")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(" 32 degrees Fahrenheit")
    assert "no chat template" in run.stderr


def test_nothing_piped_in_is_an_error() -> None:
    assert "prompt is empty" in failed_in_one_line(ftllm("run", stdin=" \n"))


def test_download_into_a_folder(model_file: Callable[[str], Path], tmp_path: Path) -> None:
    cached = model_file("smollm2-135m")
    run = ftllm("download", "smollm2-135m", "--local-dir", str(tmp_path / "models"))
    assert run.returncode == 0, run.stderr
    (file,) = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert run.stdout.strip() in (str(file), str(file.parent))
    assert _digest(file) == _digest(cached)


def test_a_download_that_cannot_be_stored_says_so(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    line = failed_in_one_line(
        ftllm("download", environment={"FTLLM_CACHE": str(blocker / "cache")})
    )
    assert str(blocker) in line
    assert "FTLLM_CACHE" in line


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        state = sha256()
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


@pytest.fixture(scope="module")
def gguf(model_file: Callable[[str], Path]) -> bytes:
    return model_file("smollm2-135m").read_bytes()


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (60_000_000, "cut short or damaged"),
        (1_000_000, "left"),
        (64, "left"),
        (0, "empty"),
    ],
)
@pytest.mark.parametrize("verb", ["server", "run"])
def test_a_truncated_file(gguf: bytes, tmp_path: Path, keep: int, message: str, verb: str) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(gguf[:keep])
    line = failed_in_one_line(
        ftllm(verb, str(path), *(("--port", "0") if verb == "server" else ("--prompt", "Hi")))
    )
    assert str(path) in line
    assert message in line


def test_flipped_bits(gguf: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.gguf"
    damaged = bytearray(gguf)
    for place in range(24, 4000, 97):  # in the header's names and lengths
        damaged[place] ^= 0x55
    path.write_bytes(damaged)
    assert str(path) in failed_in_one_line(ftllm("run", str(path), "--prompt", "Hi"))


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(os.urandom(5000))
    assert "not a GGUF file" in failed_in_one_line(ftllm("server", str(path)))


def test_a_model_that_is_nowhere(tmp_path: Path) -> None:
    line = failed_in_one_line(ftllm("server", str(tmp_path / "missing.gguf")))
    assert str(tmp_path / "missing.gguf") in line
    line = failed_in_one_line(ftllm("server", "smolm2-135m"))
    assert "near matches: smollm2-135m" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--dtype", "int3"), "int3"),
        (("--kv_cache_dtype", "float8"), "float8"),
        (("--kv_cache_limit", "lots"), "lots"),
        (("--tokens", "999999999"), "999999999"),
    ],
)
def test_options_that_cannot_be_honoured(
    model_file: Callable[[str], Path], flags: tuple[str, ...], said: str
) -> None:
    model_file("smollm2-135m")
    assert said in failed_in_one_line(ftllm("server", "smollm2-135m", "--port", "0", *flags))
