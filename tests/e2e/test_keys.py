"""Keys as an operator gives them, on the real command line."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx
import openai
import pytest
from running_server import RunningServer

from .servers import ServerFactory, sdk

pytestmark = pytest.mark.e2e


def status(server: RunningServer, path: str, key: str = "") -> int:
    headers = {"x-api-key": key} if key else {}
    return httpx.get(f"{server.url}{path}", headers=headers, timeout=10).status_code


def test_key_files_and_the_admin_key(serving: ServerFactory, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-alice\nbob: sk-bob\n")
    options = ("--tokens", "2048", "--api_key_file", str(file), "--admin_api_key", "sk-admin")
    with serving("smollm2-135m", *options) as server:
        with sdk(server, api_key="sk-alice") as client:
            answer = client.completions.create(model="smollm2-135m", prompt="One,", max_tokens=2)
            assert answer.choices[0].text
        assert [status(server, path) for path in ("/health", "/live", "/ready")] == [200] * 3
        assert [status(server, path) for path in ("/version", "/v1/load")] == [401] * 2
        keys = ("sk-alice", "sk-admin", "sk-nobody")
        assert [status(server, "/server_info", key) for key in keys] == [403, 200, 401]

        file.write_text("bob: sk-bob\n")
        os.kill(server.pid, signal.SIGHUP)
        deadline = time.monotonic() + 10
        while "read the API keys again" not in server.log():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with sdk(server, api_key="sk-bob") as client:
            assert client.models.list().data
        with sdk(server, api_key="sk-alice") as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
        log = server.log()
    assert " key alice" in log
    assert "sk-" not in log
