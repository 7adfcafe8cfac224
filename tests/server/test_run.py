"""The server as a process: it starts, serves, and leaves in good order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from server.fake_engine import FakeEngine
from server.fake_model import FakeModel
from ftllm.server.run import serve
from ftllm.server.settings import ServerSettings

engine = FakeEngine(lambda _: [65] * 300, step_seconds=0.005)
serve(FakeModel(engine), ServerSettings(port=0))
print("shut down:", engine.shut_down, "live:", engine.live, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_streams_finish(number: signal.Signals) -> None:
    tests = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tests=tests)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tests,  # where no folder is called ftllm
    )
    try:
        url = _wait_for_url(process)
        body = {"prompt": "a", "stream": True, "max_tokens": 300}
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(number)
            text = "\n".join(lines)
        assert text.rstrip().endswith("data: [DONE]")
        assert text.count('"text":"A"') >= 298
        out, log = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log
    assert out == "shut down: True live: 0\n"
    assert re.search(r"POST /v1/completions 200 \d+ ms req-", log)
    assert "Traceback" not in log


GUARDED_PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from server.fake_engine import FakeEngine
from server.fake_model import FakeModel
from ftllm.server.run import serve
from ftllm.server.settings import ServerSettings

settings = ServerSettings(host="127.0.0.1", port=0, api_key_files=(Path({file!r}),))
serve(FakeModel(FakeEngine(lambda _: [65])), settings)
"""


def test_sighup_reads_key_files_again(tmp_path: Path) -> None:
    tests, file = str(Path(__file__).parent.parent), tmp_path / "keys"
    file.write_text("old")
    process = subprocess.Popen(
        [sys.executable, "-c", GUARDED_PROGRAM.format(tests=tests, file=str(file))],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tests,
    )
    try:
        url = _wait_for_url(process)

        def status(key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return httpx.get(f"{url}/v1/models", headers=headers).status_code

        assert (status("old"), status("new")) == (200, 401)
        for content, statuses in (("new", (401, 200)), ("", (401, 200)), ("old", (200, 401))):
            file.write_text(content)
            process.send_signal(signal.SIGHUP)
            _wait_for_line(process, "API keys")
            assert (status("old"), status("new")) == statuses
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0


def _wait_for_line(process: subprocess.Popen[str], part: str) -> None:
    assert process.stderr is not None
    assert any(part in line for line in process.stderr), f"no line with {part!r}"


def _wait_for_url(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    raise AssertionError(f"the server did not start:\n{seen}")
