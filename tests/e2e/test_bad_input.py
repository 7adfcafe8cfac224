"""What a server answers to input that it cannot serve, and that it goes on serving afterwards."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import httpx
import openai
import pytest
from openai import OpenAI
from running_server import RunningServer

from .servers import ServerFactory, sdk, wait_until_idle

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
CONTEXT = 8192  # tokens that this model can read
KEY = "sk-of-the-test"
CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def http(smollm2: RunningServer) -> Iterator[httpx.Client]:
    """Fails the test if the server is not the same living process, able to answer, at its end."""
    pid = smollm2.pid
    with httpx.Client(base_url=smollm2.url, timeout=60) as client:
        yield client
        good = client.post(COMPLETIONS, json={"prompt": "One, two,", "max_tokens": 2})
    assert good.status_code == 200, good.text
    assert smollm2.alive()
    assert smollm2.pid == pid
    wait_until_idle(smollm2)


@pytest.fixture(scope="module")
def guarded(serving: ServerFactory) -> Iterator[RunningServer]:
    """A server with a key, that runs one request and lets one wait."""
    options = ("--tokens", "4096", "--api_key", KEY, "--max_batch", "1", "--max_queue", "1")
    with serving(MODEL, *options) as server:
        yield server


def refusal(answer: httpx.Response, status: int) -> dict[str, str | None]:
    """The error object, which must have OpenAI's four fields."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) < 2000
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize("prompt", ["", [], [""], [[]]])
def test_empty_prompt(http: httpx.Client, prompt: object) -> None:
    error = refusal(http.post(COMPLETIONS, json={"prompt": prompt}), 400)
    assert error["param"] == "prompt"
    assert "empty" in (error["message"] or "") or "at least" in (error["message"] or "")


def test_no_messages(http: httpx.Client) -> None:
    assert refusal(http.post(CHAT, json={"messages": []}), 400)["param"] == "messages"
    error = refusal(http.post(CHAT, json={}), 400)
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")


def test_prompt_over_the_context(http: httpx.Client) -> None:
    ids = [100 + place % 1000 for place in range(CONTEXT + 808)]
    error = refusal(http.post(COMPLETIONS, json={"prompt": ids}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert f"{CONTEXT} tokens" in (error["message"] or "")
    assert f"{CONTEXT + 808} tokens" in (error["message"] or "")
    long_chat = [{"role": "user", "content": "All work and no play. " * 2500}]
    error = refusal(http.post(CHAT, json={"messages": long_chat}), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"prompt": "a",}', b"[]", b'"prompt"', b"null", b"[" * 100_000, b"\x00"],
    ids=["nothing", "cut", "comma", "array", "string", "null", "deep", "zero"],
)
def test_invalid_json(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer, 400)["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, b'{"prompt": "caf\xe9"}'),
        (COMPLETIONS, b'{"prompt": "\\ud800"}'),
        (CHAT, b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}'),
        (CHAT, b'{"messages": [{"role": "user", "content": "\\udc00!"}]}'),
    ],
)
def test_invalid_utf_8(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    refusal(answer, 400)


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("temperature", "NaN"),
        ("temperature", "Infinity"),
        ("temperature", "1e999"),
        ("temperature", "-0.5"),
        ("temperature", '"hot"'),
        ("top_p", "NaN"),
        ("top_p", "0"),
        ("top_p", "1.5"),
        ("top_k", "-7"),
        ("min_p", "2"),
        ("repetition_penalty", "0"),
        ("repetition_penalty", "-Infinity"),
        ("presence_penalty", "1e30"),
        ("frequency_penalty", "-3"),
        ("max_tokens", "-1"),
        ("max_tokens", "1.5"),
        ("max_tokens", "9" * 400),
        ("n", "0"),
        ("n", "-1"),
        ("n", "100000"),
        ("seed", "1e3"),
        ("seed", "1" + "0" * 40),
        ("min_tokens", "-1"),
        ("stop", '""'),
        ("stop", "[1]"),
        ("logit_bias", '{"-1": 1}'),
        ("logit_bias", '{"99999999": 1}'),
        ("logit_bias", '{"5": NaN}'),
        ("logit_bias", '{"5": 1e9}'),
        ("stop_token_ids", "[-1]"),
        ("no_such_field", "1"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_impossible_parameters(http: httpx.Client, path: str, name: str, literal: str) -> None:
    what = f'"messages": {json.dumps(HELLO)}' if path == CHAT else '"prompt": "Hello"'
    body = f'{{{what}, "{name}": {literal}}}'
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    error = refusal(answer, 400)
    named = f"{error['param']} {error['message']}"
    assert name in named
    assert len(error["message"] or "") < 600


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, {"prompt": "Hello", "logprobs": 100}),
        (CHAT, {"messages": HELLO, "logprobs": True, "top_logprobs": 100}),
    ],
)
def test_too_many_logprobs(http: httpx.Client, path: str, body: dict[str, object]) -> None:
    assert "logprobs" in (refusal(http.post(path, json=body), 400)["param"] or "")


def test_200_stop_strings(http: httpx.Client) -> None:
    body = {"messages": HELLO, "stop": [f"stop {number}" for number in range(200)]}
    error = refusal(http.post(CHAT, json=body), 400)
    assert error["param"] == "stop"
    assert "200" in (error["message"] or "")
    assert "64" in (error["message"] or "")


@pytest.mark.parametrize("stated", [True, False], ids=["length", "chunked"])
def test_a_body_of_20_mb(http: httpx.Client, stated: bool) -> None:
    body = json.dumps({"prompt": "x" * 20_000_000}).encode()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    content = body if stated else pieces()
    answer = http.post(COMPLETIONS, content=content, headers={"Content-Type": "application/json"})
    error = refusal(answer, 413)
    assert error["code"] == "request_too_large"
    assert str(16 * 1024 * 1024) in (error["message"] or "")


def test_unknown_model_path_and_method(http: httpx.Client) -> None:
    error = refusal(http.post(CHAT, json={"model": "gpt-9", "messages": HELLO}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert MODEL in (error["message"] or "")
    assert refusal(http.get("/v1/models/gpt-9"), 404)["code"] == "model_not_found"
    refusal(http.get("/v1/nothing"), 404)
    refusal(http.get(CHAT), 405)


def test_sdk_errors_are_those_of_openai(smollm2: RunningServer) -> None:
    with sdk(smollm2) as client:
        with pytest.raises(openai.BadRequestError) as bad:
            client.completions.create(model=MODEL, prompt="a", temperature=-1)
        assert bad.value.param == "temperature"
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="gpt-9", prompt="a")


def test_a_key_is_needed(guarded: RunningServer) -> None:
    with sdk(guarded, api_key="sk-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as wrong:
            client.models.list()
        assert wrong.value.code == "invalid_api_key"
        assert [card.id for card in client.with_options(api_key=KEY).models.list()] == [MODEL]
    for path in ("/v1/models", COMPLETIONS, "/openapi.json", "/anything"):
        answer = httpx.get(f"{guarded.url}{path}")
        assert refusal(answer, 401)["code"] == "missing_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx.get(f"{guarded.url}/health").status_code == 200
    assert KEY not in guarded.log()


def test_a_full_queue(guarded: RunningServer) -> None:
    with sdk(guarded, api_key=KEY) as client:
        with _talk(client) as running, _talk(client):  # one runs, one waits
            next(iter(running))
            with pytest.raises(openai.RateLimitError) as full:
                client.completions.create(model=MODEL, prompt="Third", max_tokens=1)
            assert full.value.code == "queue_full"
            assert 1 <= int(full.value.response.headers["retry-after"]) <= 60
        wait_until_idle(guarded)  # both have hung up
        answer = client.completions.create(model=MODEL, prompt="Third", max_tokens=1)
        assert answer.choices[0].finish_reason == "length"


def _talk(client: OpenAI) -> openai.Stream[openai.types.Completion]:
    """A stream that goes on until its client hangs up."""
    return client.completions.create(
        model=MODEL,
        prompt="Once upon a time",
        max_tokens=3000,
        stream=True,
        extra_body={"ignore_eos": True},
    )


def test_a_client_that_sends_half_a_request(smollm2: RunningServer) -> None:
    host, port = smollm2.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n" + b'{"prompt": "Hel'
        )
        time.sleep(0.1)
    wait_until_idle(smollm2)
    assert smollm2.alive()
