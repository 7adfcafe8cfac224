"""The server as a process: it starts, serves, and leaves in good order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

TESTS = str(Path(__file__).parent.parent)
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from server.fake_engine import FakeEngine
from server.fake_model import FakeModel
from ftllm.server.run import serve
from ftllm.server.settings import ServerSettings

engine = FakeEngine(lambda _: [65] * 300, step_seconds={step_seconds})
code = serve(FakeModel(engine), ServerSettings(port=0, drain_timeout={drain_timeout}))
print("shut down:", engine.shut_down, "live:", engine.live, flush=True)
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_streams_finish(number: signal.Signals) -> None:
    process = _start(step_seconds=0.005, drain_timeout=30)
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


@pytest.mark.parametrize("signals", [1, 2])
def test_what_cannot_finish_is_told_so(signals: int) -> None:
    """After the timeout with exit code 4, after a second signal with that of the signal."""
    process = _start(step_seconds=0.05, drain_timeout=5 if signals == 1 else 60)
    try:
        url = _wait_for_url(process)
        body = {"prompt": "a", "stream": True, "max_tokens": 300}  # 15 s
        with httpx.stream("POST", f"{url}/v1/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            refused = httpx.post(f"{url}/v1/completions", json=body)  # it listens still
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "draining"
            assert httpx.get(f"{url}/ready").status_code == 503
            assert httpx.get(f"{url}/live").status_code == 200
            if signals == 2:
                process.send_signal(signal.SIGTERM)
            text = "\n".join(lines)
        assert text.rstrip().endswith("data: [DONE]")
        assert text.count("event: error") == 1
        assert '"code":"engine_stopped"' in text
        out, log = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (4 if signals == 1 else 128 + signal.SIGTERM), log
    assert out == "shut down: True live: 0\n"
    assert "1 requests are ended" in log
    assert "Traceback" not in log


HUNG_PROGRAM = """
import sys, threading
sys.path.insert(0, {tests!r})
from server.fake_engine import FakeEngine
from server.fake_model import FakeModel
from ftllm.server.run import serve
from ftllm.server.settings import ServerSettings

class HungEngine(FakeEngine):
    def shutdown(self):
        threading.Event().wait()

engine = HungEngine(lambda _: [65] * 300)
engine.go.clear()
serve(FakeModel(engine), ServerSettings(port=0))
"""


def test_a_step_that_never_ends_cannot_keep_the_process() -> None:
    process = _run(HUNG_PROGRAM.format(tests=TESTS))
    try:
        url = _wait_for_url(process)
        with httpx.stream("POST", f"{url}/v1/completions", json={"prompt": "a", "stream": True}):
            for _ in range(2):
                process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
            _, log = process.communicate(timeout=15)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 128 + signal.SIGTERM, log
    assert "does not end" in log


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
    file = tmp_path / "keys"
    file.write_text("old")
    process = _run(GUARDED_PROGRAM.format(tests=TESTS, file=str(file)))
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


def _start(*, step_seconds: float, drain_timeout: float) -> subprocess.Popen[str]:
    return _run(PROGRAM.format(tests=TESTS, step_seconds=step_seconds, drain_timeout=drain_timeout))


def _run(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=TESTS,  # where no folder is called ftllm
    )


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
