"""`ftllm server` up to the moment where the HTTP server takes over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scripted_model import fake_model
from typer.testing import CliRunner, Result

import ftllm.loading
import ftllm.server.run
from ftllm.cli.main import app
from ftllm.loading import LoadedModel, LoadOptions
from ftllm.progress import Progress
from ftllm.server.api_key import ApiKey
from ftllm.server.request_limits import RequestLimits
from ftllm.server.settings import ServerSettings
from ftllm.server.tls_files import TlsFiles


class Served:
    """Stands in for the loader and the server, and remembers what they were given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: list[LoadOptions] = []
        self.settings: list[ServerSettings] = []
        monkeypatch.setattr(ftllm.loading, "load_model", self._load)
        monkeypatch.setattr(ftllm.server.run, "serve", self._serve)

    def _load(self, options: LoadOptions, *, progress: Progress) -> LoadedModel:
        self.options.append(options)
        return fake_model()[0]

    def _serve(self, model: LoadedModel, settings: ServerSettings) -> None:
        self.settings.append(settings)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    return Served(monkeypatch)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["server", *arguments])


def test_defaults_are_those_of_the_loader_and_of_the_server(served: Served) -> None:
    result = invoke()
    assert result.exit_code == 0
    assert served.options == [LoadOptions()]
    assert served.settings == [ServerSettings()]
    assert result.stdout == ""
    assert result.stderr == "model scripted\n"


def test_every_flag_in_both_spellings(
    served: Served, tmp_path: Path, certificate: TlsFiles
) -> None:
    template = tmp_path / "a_b.jinja"
    template.write_text("x")
    flags = {
        "model_name": "a_b",
        "dtype": "int4g128",
        "kv_cache_dtype": "int8",
        "kv_cache_limit": "4g",
        "tokens": "4096",
        "max_batch": "7",
        "max_batched_tokens": "99",
        "max_model_len": "2048",
        "tool_call_parser": "hermes",
        "reasoning_parser": "none",
        "think": "off",
        "max_queue": "5",
        "max_queue_tokens": "6000",
        "max_body_mb": "3",
        "max_header_kb": "8",
        "header_timeout": "1.5",
        "body_timeout": "2.5",
        "send_timeout": "5.5",
        "max_connections": "77",
        "queue_timeout": "3.5",
        "request_timeout": "4.5",
        "cors_origin": "https://a_b.example.com",
        "ssl_certfile": str(certificate.certfile),
        "ssl_keyfile": str(certificate.keyfile),
        "ssl_keyfile_password": "p_w",
        "cache_dir": str(tmp_path),
        "revision": "v_1",
        "ori": str(tmp_path),
        "chat_template": str(template),
        "models_file": str(template),
        "threads": "3",
        "pin": "off",
        "host": "127.0.0.2",
        "port": "99",
        "api_key": "k_1",
        "admin_api_key": "a_1",
        "keep_alive": "2.5",
        "log_format": "json",
        "log_level": "error",
    }
    switches = ["no_prefix_cache", "hide_input", "lenient"]
    underscores = [f"--{name}={value}" for name, value in flags.items()]
    hyphens = [f"--{name.replace('_', '-')}" for name in switches]
    for name, value in flags.items():
        hyphens += [f"--{name.replace('_', '-')}", value]
    assert invoke("the/model_x", *underscores, *(f"--{name}" for name in switches)).exit_code == 0
    assert invoke("the/model_x", *hyphens).exit_code == 0
    assert served.options[0] == served.options[1]
    assert served.settings[0] == served.settings[1]
    assert served.options[0] == LoadOptions(
        model="the/model_x",
        model_name="a_b",
        dtype="int4g128",
        kv_cache_dtype="int8",
        kv_cache_limit="4g",
        tokens=4096,
        max_batch=7,
        max_batched_tokens=99,
        max_model_len=2048,
        max_queue=5,
        max_queue_tokens=6000,
        prefix_caching=False,
        cache_dir=tmp_path,
        revision="v_1",
        ori=tmp_path,
        chat_template=template,
        models_file=template,
        threads=3,
        pin="off",
    )
    assert served.settings[0] == ServerSettings(
        host="127.0.0.2",
        port=99,
        api_keys=("k_1",),
        admin_api_keys=("a_1",),
        keep_alive=2.5,
        max_body_bytes=3 * 2**20,
        limits=RequestLimits(
            max_header_bytes=8192,
            header_timeout=1.5,
            body_timeout=2.5,
            send_timeout=5.5,
            max_connections=77,
            queue_timeout=3.5,
            request_timeout=4.5,
        ),
        cors_origins=("https://a_b.example.com",),
        tls=replace(certificate, password="p_w"),
        tool_call_parser="hermes",
        reasoning_parser="none",
        think="off",
        hide_input=True,
        log_format="json",
        log_level="error",
        lenient=True,
    )


def test_serve_is_another_name(served: Served) -> None:
    assert CliRunner().invoke(app, ["serve", "-t", "2", "m"]).exit_code == 0
    assert served.options == [LoadOptions(model="m", threads=2)]


def test_keys_come_from_flags_files_and_the_environment(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    first.write_text("# comment\n\nalpha\n beta \n")
    second = tmp_path / "second"
    second.write_text("gamma\n")
    monkeypatch.setenv("FTLLM_API_KEYS", "delta, one,,")
    assert (
        invoke(
            "--api_key", "one", "--api-key", f"@{first}", "--api_key_file", str(second)
        ).exit_code
        == 0
    )
    assert served.settings[0].api_keys == ("one", "delta")
    assert served.settings[0].api_key_files == (first, second)
    monkeypatch.setenv("FTLLM_API_KEY", f"epsilon,@{first}")
    monkeypatch.setenv("FTLLM_API_KEY_FILE", str(second))
    assert invoke().exit_code == 0
    assert served.settings[1].api_keys == ("epsilon", "delta", "one")
    assert served.settings[1].api_key_files == (first, second)


def test_admin_keys(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "admin"
    file.write_text("from-file")
    monkeypatch.setenv("FTLLM_ADMIN_API_KEYS", "from-environment")
    assert invoke("--admin_api_key", "a_1", "--admin-api-key", f"@{file}").exit_code == 0
    assert served.settings[0].admin_api_keys == (
        "a_1",
        "from-environment",
        ApiKey.of("from-file"),
    )
    assert served.settings[0].api_keys == ()
    assert invoke("--admin_api_key", " ").exit_code == 2
    limited = tmp_path / "limited.yaml"
    limited.write_text("- {key: a, requests_per_minute: 1}")
    refused = invoke("--admin_api_key", f"@{limited}")
    assert refused.exit_code == 2
    assert "sets limits" in refused.stderr


@pytest.mark.parametrize("content", [None, b"# only a comment\n", b"\xff\xfe"])
def test_a_key_file_without_keys_never_opens_the_server(
    served: Served, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    result = invoke("--api_key", f"@{path}")
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert served.options == []


def test_an_empty_key_is_refused(served: Served) -> None:
    result = invoke("--api_key", "")
    assert result.exit_code == 2
    assert "--api_key is empty" in result.stderr
    assert served.settings == []


def test_tls_files_are_checked_before_a_model_is_loaded(
    served: Served, tmp_path: Path, certificate: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere.pem"
    for flags, complaint in (
        (("--ssl_keyfile", "k"), "--ssl_keyfile needs --ssl_certfile"),
        (("--ssl_certfile", str(nowhere)), f"ssl_certfile: {nowhere} cannot be read"),
        (("--ssl_certfile", str(certificate.certfile)), "holds no private key"),
        (
            ("--ssl_certfile", str(certificate.certfile), "--ssl_keyfile_password", "@nowhere"),
            "nowhere cannot be read",
        ),
    ):
        result = invoke(*flags)
        assert result.exit_code == 2
        assert complaint in result.stderr
    assert served.options == []
    password = tmp_path / "password"
    password.write_text("from a file\n")
    files = ("--ssl_certfile", str(certificate.certfile), "--ssl_keyfile", str(certificate.keyfile))
    monkeypatch.setenv("FTLLM_SSL_KEYFILE_PASSWORD", "from the environment")
    assert invoke(*files).exit_code == 0
    assert invoke(*files, "--ssl_keyfile_password", f"@{password}").exit_code == 0
    passwords = [settings.tls and settings.tls.password for settings in served.settings]
    assert passwords == ["from the environment", "from a file"]


def test_an_origin_with_a_path_is_refused(served: Served) -> None:
    result = invoke("--cors_origin", "https://example.com/")
    assert result.exit_code == 2
    assert "a slash at the end" in result.stderr


def test_a_configuration_file_needs_no_argument(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "ftllm.yaml"
    file.write_text("model: the/model\nport: 99\napi_key: [one, two]\nno_prefix_cache: true\n")
    assert invoke("--config", str(file)).exit_code == 0
    assert served.options == [LoadOptions(model="the/model", prefix_caching=False)]
    assert served.settings == [ServerSettings(port=99, api_keys=("one", "two"))]


def test_the_environment_is_warned_about(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTLLM_PROT", "1")
    result = invoke()
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].startswith("Warning: FTLLM_PROT is not a variable")


def test_a_json_log_has_all_that_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FTLLM_PROT", "1")
    result = invoke("--log_format", "json")
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "info"]
    assert lines[1]["message"] == "model scripted"
    result = invoke("--log_format", "json", "--api_key", f"@{tmp_path}")
    assert result.exit_code == 2
    assert [json.loads(line)["level"] for line in result.stderr.splitlines()] == [
        "warning",
        "error",
    ]


@pytest.mark.parametrize("flag", ["--log_format", "--log_level"])
def test_a_wrong_log(served: Served, flag: str) -> None:
    result = invoke(flag, "loud")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {flag} is 'loud'; it must be ")
    assert served.options == []


def test_where_responses_are_kept(served: Served, tmp_path: Path) -> None:
    assert invoke("--response_store", str(tmp_path / "responses.db")).exit_code == 0
    assert served.settings[0].response_store == tmp_path / "responses.db"
    refused = invoke("--response_store", "responses.db", "--stored_responses", "0")
    assert refused.exit_code == 2
    assert "none are stored" in refused.stderr
