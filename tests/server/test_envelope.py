from __future__ import annotations

import logging
import re

import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel

SECRET = "the secret prompt"


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "ftllm.access"]


def test_a_request_id_is_echoed(api: Api) -> None:
    response = api.get("/health", headers={"X-Request-Id": "my-id.7"})
    assert response.headers["x-request-id"] == "my-id.7"


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "a;b"])
def test_a_bad_request_id_is_replaced(api: Api, offered: str) -> None:
    request_id = api.get("/health", headers={"X-Request-Id": offered}).headers["x-request-id"]
    assert re.fullmatch(r"req-[0-9a-f]{32}", request_id)


def test_every_answer_has_an_id(api: Api) -> None:
    for response in (api.get("/nowhere"), api.chat(), api.chat(n=0), api.chat(stream=True)):
        assert response.headers["x-request-id"].startswith("req-")


def test_one_line_per_request(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    api.chat(SECRET, stream=True)
    api.send("GET", "/nowhere?key=hush", headers={"X-Request-Id": "abc"})
    first, second = access_lines(caplog)
    assert re.fullmatch(r"POST /v1/chat/completions 200 \d+ ms req-\w+", first)
    assert re.fullmatch(r"GET /nowhere 404 \d+ ms abc", second)
    assert SECRET not in caplog.text


def test_a_path_cannot_forge_a_line(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    api.get("/a%0aPOST%20/b 200")
    (line,) = access_lines(caplog)
    assert "\n" not in line


def test_prompts_are_logged_at_debug_only(
    model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(create_app(model, ServerSettings()))
    caplog.set_level(logging.DEBUG)
    api.chat(SECRET)
    assert SECRET in caplog.text


def test_hidden_input_is_never_logged(
    model: FakeModel, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(create_app(model, ServerSettings(hide_input=True)))
    caplog.set_level(logging.DEBUG)
    api.chat(SECRET)
    api.chat(SECRET, temperature="x")
    api.complete(SECRET, echo=True, logprobs=1)
    engine.refuse = ZeroDivisionError(f"cannot divide {SECRET}")
    error_of(api.chat(SECRET), 500)
    assert SECRET not in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_an_unexpected_error_shows_no_internals(
    api: Api, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.refuse = ZeroDivisionError("the pantry is empty")
    response = api.chat()
    error = error_of(response, 500)
    assert error["code"] == "internal_error"
    assert response.headers["x-request-id"] in error["message"]
    assert "pantry" not in response.text
    assert "ZeroDivision" not in response.text
    assert "the pantry is empty" in caplog.text
    assert response.headers["x-request-id"] in caplog.text
    assert "Traceback" in caplog.text
