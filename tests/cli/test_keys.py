"""`ftllm keys`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from ftllm.cli.main import app
from ftllm.server.api_key import ApiKey, KeyLimits
from ftllm.server.key_file import parse_keys, read_key_file


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments])


def test_a_new_key_and_its_entry() -> None:
    result = invoke(
        "new",
        "alice",
        "--requests_per_minute=60",
        "--tokens-per-minute=9000",
        "--max_concurrency=4",
        "--priority=-2",
        "--model=a_b",
    )
    assert result.exit_code == 0, result.output
    key, _, text = result.stdout.partition("\n\n")
    limits = KeyLimits(requests_per_minute=60, tokens_per_minute=9000, max_concurrency=4)
    assert parse_keys(text, Path("keys.yaml")) == (
        ApiKey(ApiKey.of(key).digest, "alice", limits, -2, frozenset({"a_b"})),
    )
    assert key not in text


def test_keys_go_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    keys = []
    for name in ("alice", "bob"):
        result = invoke("new", name, "--file", str(file))
        assert result.exit_code == 0, result.output
        assert "SIGHUP" in result.stderr
        keys.append(result.stdout.strip())
    assert read_key_file(file) == (ApiKey.of(keys[0], "alice"), ApiKey.of(keys[1], "bob"))
    assert not any(key in file.read_text() for key in keys)
    before = file.read_text()
    again = invoke("new", "bob", "--file", str(file))
    assert again.exit_code == 2
    assert again.stdout == ""
    assert "the name 'bob' already" in again.stderr
    assert file.read_text() == before


def test_the_list_shows_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("- {name: alice, key: hush-1, requests_per_minute: 77}\n- hush-2\n")
    result = invoke("list", str(file))
    assert result.exit_code == 0, result.output
    assert "alice" in result.stdout
    assert "77" in result.stdout
    assert "hush" not in result.stdout
    assert len(result.stdout.strip().splitlines()) == 3


def test_what_cannot_be_done(tmp_path: Path) -> None:
    for arguments in (
        ("new", "a b"),
        ("new", "a", "--requests_per_minute=0"),
        ("new", "a", "--file", str(tmp_path / "keys.txt")),
        ("list", str(tmp_path / "none")),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
