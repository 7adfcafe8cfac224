"""The log of a server process: text or JSON, ids of requests, and nothing of what is hidden."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftllm.engine.request import Request
from ftllm.server.app import create_app
from ftllm.server.log_filter import RequestIdFilter
from ftllm.server.log_format import JsonFormatter, TextFormatter
from ftllm.server.prompts import INLINE_SIZE
from ftllm.server.request_context import RequestContext, answering
from ftllm.server.settings import ServerSettings

from .api import Api
from .fake_engine import FakeEngine
from .fake_model import FakeModel

TESTS = str(Path(__file__).parent.parent)
SECRET = "the-secret-prompt"
PROGRAM = """
import asyncio, logging, sys, threading, warnings
sys.path.insert(0, {tests!r})
from server.fake_engine import FakeEngine
from server.fake_model import FakeModel, says
from ftllm.server.run import serve
from ftllm.server.settings import ServerSettings

def script(request):
    text = bytes(id for id in request.prompt_ids if id < 256).decode()
    if "refuse" in text:
        raise ZeroDivisionError("cannot divide " + text)
    if "die" in text:
        asyncio.get_running_loop().create_task(fail(text))
    return says(text)[:300]

async def fail(text):
    raise ZeroDivisionError("cannot divide " + text)

class FailingEngine(FakeEngine):
    def _advance(self, live):
        text = bytes(id for id in live.request.prompt_ids if id < 256).decode()
        if "fail" in text and live.sent == 2:
            self._finish(live, reason=FinishReason.ERROR, events=[], error="failed on " + text)
        else:
            super()._advance(live)

from ftllm.engine.request import FinishReason
settings = ServerSettings(
    port=0, log_format={form!r}, log_level="debug", hide_input={hide_input}, api_keys=("k",)
)
sys.exit(serve(FakeModel(FailingEngine(script)), settings))
"""


@contextmanager
def serving(form: str, *, hide_input: bool) -> Iterator[tuple[httpx.Client, list[str]]]:
    """A client of a process, and the lines of its stderr, complete after the block."""
    program = PROGRAM.format(tests=TESTS, form=form, hide_input=hide_input)
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=TESTS)
    assert process.stderr is not None
    lines: list[str] = []
    started = threading.Event()
    url = ""

    def read() -> None:
        nonlocal url
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if found := re.search(r"Uvicorn running on (http://[^\s\"]+)", line):
                url = found[1].replace("0.0.0.0", "127.0.0.1")
                started.set()
        started.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert started.wait(120)
        assert url, lines
        headers = {"Authorization": "Bearer k"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            yield client, lines
        process.terminate()
        process.wait(60)
        reader.join(60)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def chat(client: httpx.Client, text: str, **fields: object) -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return client.post("/v1/chat/completions", json=body)


def every_kind_of_request(client: httpx.Client) -> None:
    """Each holds SECRET: good, streamed, long, invalid, refused, failing at once or midway."""
    assert chat(client, SECRET).status_code == 200
    assert "[DONE]" in chat(client, SECRET, stream=True).text
    assert chat(client, SECRET + "x" * INLINE_SIZE).status_code == 400  # beyond the context
    assert chat(client, SECRET, temperature=SECRET).status_code == 400
    assert chat(client, SECRET, **{SECRET: 1}).status_code == 400
    assert chat(client, SECRET, response_format={"type": SECRET}).status_code == 400
    assert client.post("/v1/completions", content=f'{{"prompt": "{SECRET}').status_code == 400
    assert chat(client, f"{SECRET} refuse").status_code == 500
    assert chat(client, f"{SECRET} die").status_code == 200
    assert chat(client, f"{SECRET} fail").status_code == 500
    assert "internal_error" in chat(client, f"{SECRET} fail", stream=True).text
    background = {"input": f"{SECRET} fail", "background": True}
    assert client.post("/v1/responses", json=background).status_code == 200
    assert client.post("/v1/embeddings", json={"input": SECRET}).status_code == 200
    assert client.post("/tokenize", json={"prompt": SECRET}).status_code == 200
    assert client.post(f"/nowhere?prompt={SECRET}").status_code == 404


@pytest.mark.parametrize("form", ["text", "json"])
def test_hidden_input_is_nowhere(form: str) -> None:
    with serving(form, hide_input=True) as (client, lines):
        every_kind_of_request(client)
    log = "\n".join(lines)
    assert "ZeroDivisionError" in log
    assert "EngineFailureError" in log
    assert "Task exception was never retrieved" in log
    assert SECRET not in log


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_not_hidden_is_there(form: str) -> None:
    """So that the test above can fail: each of its places would show the prompt."""
    with serving(form, hide_input=False) as (client, lines):
        every_kind_of_request(client)
    log = "\n".join(lines)
    for text in ("prompt '", "cannot divide", "failed on", "Task exception was never retrieved"):
        assert any(text in line for line in lines), text
    assert SECRET in log


def test_every_line_is_json() -> None:
    with serving("json", hide_input=False) as (client, lines):
        every_kind_of_request(client)
        answer = chat(client, "Hi")
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record.keys() >= {"time", "level", "logger", "message"}
        assert record["time"].endswith("Z")
        assert datetime.fromisoformat(record["time"].replace("Z", "+00:00")).tzinfo is not None
    assert {"uvicorn.error", "ftllm.server", "ftllm.access", "asyncio"} <= {
        record["logger"] for record in records
    }
    mine = [r for r in records if r.get("request_id") == answer.headers["x-request-id"]]
    assert [record["logger"] for record in mine] == ["ftllm.server", "ftllm.access"]
    access = mine[1]
    assert access["method"] == "POST"
    assert access["path"] == "/v1/chat/completions"
    assert access["status"] == 200
    assert 0 < access["duration_seconds"] < 60
    usage = answer.json()["usage"]
    assert access["prompt_tokens"] == usage["prompt_tokens"]
    assert access["output_tokens"] == usage["completion_tokens"]
    (failed,) = [r for r in records if r["message"].endswith("refuse\n[assistant]")]
    assert failed["exception"].startswith("Traceback")
    assert "ZeroDivisionError: cannot divide" in failed["exception"]
    assert failed["request_id"].startswith("req-")


def formatted(form: logging.Formatter, record: logging.LogRecord) -> str:
    RequestIdFilter().filter(record)
    return form.format(record)


def record_of(message: str, *, error: Exception | None = None) -> logging.LogRecord:
    exc_info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord("ftllm.x", logging.ERROR, "x.py", 1, message, (), exc_info)


def test_the_id_stands_once_in_a_line() -> None:
    form = TextFormatter(hide_input=False)
    assert formatted(form, record_of("hello")).endswith(" ERROR ftllm.x: hello")
    with answering(RequestContext(0.0, {"request_id": "req-7"})):
        assert formatted(form, record_of("hello")).endswith("hello [req-7]")
        assert formatted(form, record_of("req-7 fails")).endswith(": req-7 fails")


def test_hidden_tracebacks_keep_types_and_frames() -> None:
    def fail() -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(SECRET) from error

    caught: Exception | None = None
    try:
        fail()
    except ValueError as error:
        caught = error
    record = record_of("it failed", error=caught)
    record.exc_text = SECRET  # as another handler's formatter leaves it
    for form in (TextFormatter(hide_input=True), JsonFormatter(hide_input=True)):
        text = formatted(form, record)
        assert SECRET not in text
        assert text.index("KeyError: (hidden)") < text.index("ValueError: (hidden)")
        assert "in fail" in text


def test_threads_for_text_know_the_request(
    model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    record = record_of("from a thread")
    encode = model.tokenizer.encode

    def logged(text: str, **options: Any) -> Any:
        RequestIdFilter().filter(record)
        seen.append((threading.current_thread().name, str(getattr(record, "request_id", None))))
        return encode(text, **options)

    monkeypatch.setattr(type(model.tokenizer), "encode", lambda _, text, **o: logged(text, **o))
    response = Api(create_app(model, ServerSettings())).complete("x" * (INLINE_SIZE + 1))
    assert response.status_code == 400
    assert seen[0][0].startswith("ftllm-text")
    assert seen[0][1] == response.headers["x-request-id"]


def test_choices_of_a_prompt_count_it_once(
    model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api = Api(create_app(model, ServerSettings()))
    usage = api.complete(["ab", "cde"], n=3).json()["usage"]
    fields: Callable[[logging.LogRecord], Any] = lambda record: getattr(record, "fields", {})  # noqa: E731
    (access,) = [fields(record) for record in caplog.records if record.name == "ftllm.access"]
    assert access["prompt_tokens"] == usage["prompt_tokens"]
    assert access["output_tokens"] == usage["completion_tokens"]


def test_a_client_that_hangs_up_leaves_what_was_said(
    model: FakeModel, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """The line is written before the engine has ended the sequence."""
    caplog.set_level(logging.INFO)
    engine.script = _endless
    engine.step_seconds = 0.001
    app = create_app(model, ServerSettings())

    async def scenario() -> None:
        sent = 0

        async def receive() -> dict[str, object]:
            if not sent:
                body = json.dumps({"prompt": "x", "stream": True, "max_tokens": 400}).encode()
                return {"type": "http.request", "body": body, "more_body": False}
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal sent
            sent += 1

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/completions",
            "raw_path": b"/v1/completions",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await app(scope, receive, send)

    asyncio.run(scenario())
    (access,) = [r for r in caplog.records if r.name == "ftllm.access"]
    fields = access.__dict__["fields"]
    assert fields["status"] == 499
    assert fields["prompt_tokens"] == 2
    assert fields["output_tokens"] > 0


def _endless(_: Request) -> list[int]:
    return [65] * 100_000
