"""Keys with limits, through the app."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ftllm.errors import QueueFullError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, Json, chunks_of, error_of, listening
from .fake_engine import FakeEngine
from .fake_model import FakeModel

CHAT = "/v1/chat/completions"
KEYS = """\
- {name: alice, key: sk-alice, %s}
- {name: bob, key: sk-bob}
"""


class Keyed(Api):
    """Talks to a server whose key alice has `limits`, which are written as in its file."""

    def __init__(self, model: FakeModel, file: Path, limits: str) -> None:
        self.file = file
        self.write(limits)
        settings = ServerSettings(api_key_files=(file,), admin_api_keys=("sk-admin",))
        super().__init__(create_app(model, settings))

    def write(self, limits: str) -> None:
        self.file.write_text(KEYS % limits)

    def ask(self, path: str = CHAT, *, key: str = "sk-alice", **fields: object) -> httpx.Response:
        body: Json = {"messages": [{"role": "user", "content": "Hi"}], **fields}
        if path == "/v1/completions":
            body = {"prompt": "Hi", **fields}
        if path == "/v1/messages":
            body = {"max_tokens": 50, **body}
        return self.send("POST", path, content=json.dumps(body).encode(), headers=bearer(key))


def bearer(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def served(model: FakeModel, file: Path, limits: str) -> Iterator[httpx.Client]:
    keyed = Keyed(model, file, limits)
    with listening(keyed.app) as url, httpx.Client(base_url=url, headers=bearer("sk-alice")) as api:
        yield api


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def wait_for_live(engine: FakeEngine, count: int) -> None:
    deadline = time.monotonic() + 10
    while engine.live != count:
        assert time.monotonic() < deadline, engine.live
        time.sleep(0.002)


def test_requests_a_minute(model: FakeModel, engine: FakeEngine, file: Path) -> None:
    api = Keyed(model, file, "requests_per_minute: 2")
    for left in (1, 0):
        answer = api.ask()
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "2"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        assert "x-ratelimit-limit-tokens" not in answer.headers
    refused = api.ask()
    error = error_of(refused, 429)
    assert error["code"] == "rate_limit_exceeded"
    assert "'alice' may send 2 requests per minute" in error["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-request-id"]
    assert len(engine.requests) == 2

    looked = api.get("/v1/models", headers=bearer("sk-alice"))  # no work, so it does not count
    assert looked.status_code == 200
    assert looked.headers["x-ratelimit-remaining-requests"] == "0"
    for key in ("sk-bob", "sk-admin"):
        answer = api.ask(key=key)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if "ratelimit" in name]
    metrics = api.get("/metrics").text
    assert (
        'admission_rejections_total{engine="0",model_name="tiny/model",reason="requests_per_'
        in (metrics)
    )
    assert 'reason="requests_per_minute"} 1.0' in metrics


def test_a_body_that_is_refused_counts_too(model: FakeModel, file: Path) -> None:
    api = Keyed(model, file, "requests_per_minute: 1")
    bad = api.ask(temperature="hot")
    assert error_of(bad, 400)
    assert bad.headers["x-ratelimit-remaining-requests"] == "0"
    assert error_of(api.ask(), 429)


def test_anthropic_errors_and_headers(model: FakeModel, file: Path) -> None:
    api = Keyed(model, file, "requests_per_minute: 1, tokens_per_minute: 5000")
    answer = api.ask("/v1/messages")
    assert answer.status_code == 200, answer.text
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "5000"
    usage = answer.json()["usage"]
    left = 5000 - usage["input_tokens"] - usage["output_tokens"] - usage["cache_read_input_tokens"]
    assert answer.headers["anthropic-ratelimit-tokens-remaining"] == str(left)
    assert answer.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    refused = api.ask("/v1/messages")
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["retry-after"]
    assert "x-ratelimit-limit-requests" not in refused.headers


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_charged_as_usage_tells(model: FakeModel, file: Path, stream: bool) -> None:
    api = Keyed(model, file, "tokens_per_minute: 1000")
    options = {"stream_options": {"include_usage": True}} if stream else {}
    answer = api.ask(stream=stream, max_tokens=300, n=2, **options)
    usage = chunks_of(answer)[-1]["usage"] if stream else answer.json()["usage"]
    reserved = usage["prompt_tokens"] + 2 * 300
    told = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert told == 1000 - (reserved if stream else usage["total_tokens"])
    looked = api.get("/v1/models", headers=bearer("sk-alice"))
    left = int(looked.headers["x-ratelimit-remaining-tokens"])
    assert left == 1000 - usage["total_tokens"]


def test_a_prompt_that_does_not_fit_any_more(
    model: FakeModel, engine: FakeEngine, file: Path
) -> None:
    api = Keyed(model, file, "tokens_per_minute: 60")
    used = api.ask("/v1/completions", prompt="a" * 40, max_tokens=4).json()["usage"]
    refused = api.ask("/v1/completions", prompt="a" * 40, max_tokens=4)
    error = error_of(refused, 429)
    assert error["code"] == "rate_limit_exceeded"
    assert f"{used['total_tokens']} are used" in error["message"]
    assert "this request needs 4" in error["message"]
    assert refused.headers["retry-after"]
    assert len(engine.requests) == 1
    assert 'reason="tokens_per_minute"} 1.0' in api.get("/metrics").text
    assert api.ask("/v1/completions", prompt="a", max_tokens=1).status_code == 200
    never = api.ask("/v1/completions", prompt="a" * 80, max_tokens=1)
    assert "can never be served" in error_of(never, 429)["message"]
    assert never.headers["x-should-retry"] == "false"


def test_embeddings_cost_their_prompts(model: FakeModel, file: Path) -> None:
    api = Keyed(model, file, "tokens_per_minute: 100")
    answer = api.send(
        "POST",
        "/v1/embeddings",
        content=json.dumps({"input": ["a" * 10, "b" * 20]}).encode(),
        headers=bearer("sk-alice"),
    )
    tokens = answer.json()["usage"]["total_tokens"]
    assert tokens >= 30
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(100 - tokens)


def test_a_full_queue_costs_no_tokens(model: FakeModel, engine: FakeEngine, file: Path) -> None:
    api = Keyed(model, file, "tokens_per_minute: 1000, max_concurrency: 1")
    engine.refuse, engine.refuse_from = QueueFullError("full"), 1
    for _ in range(2):
        refused = api.ask(n=2)
        assert error_of(refused, 429)["code"] == "queue_full"
        engine.wait_idle()
        left = api.get("/v1/models", headers=bearer("sk-alice"))
        assert int(left.headers["x-ratelimit-remaining-tokens"]) > 900


@pytest.mark.parametrize("stream", [False, True])
def test_concurrency_ends_with_the_answer_or_the_connection(
    model: FakeModel, engine: FakeEngine, file: Path, stream: bool
) -> None:
    engine.script = lambda _: [65] * 100_000
    engine.step_seconds = 0.002
    body = {"prompt": "a", "max_tokens": 50_000, "stream": stream}
    short = {"prompt": "a", "max_tokens": 1}
    with served(model, file, "max_concurrency: 1, tokens_per_minute: 100000") as api:
        for _ in range(3):
            hung_up = threading.Event()

            def ask(hung_up: threading.Event = hung_up) -> None:
                with httpx.Client(base_url=api.base_url, headers=api.headers) as other:
                    if stream:
                        with other.stream("POST", "/v1/completions", json=body) as answer:
                            lines = answer.iter_lines()  # without it the client hangs up
                            next(lines)
                            hung_up.wait(10)
                    else:
                        with pytest.raises(httpx.ReadTimeout):
                            other.post("/v1/completions", json=body, timeout=0.5)

            client = threading.Thread(target=ask)
            client.start()
            wait_for_live(engine, 1)
            refused = api.post("/v1/completions", json=short)
            error = error_of(refused, 429)
            assert "1 requests running" in error["message"]
            assert refused.headers["retry-after"]
            hung_up.set()
            client.join(timeout=10)
            assert engine.wait_idle()
            deadline = time.monotonic() + 5
            while (answer := api.post("/v1/completions", json=short)).status_code == 429:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert answer.status_code == 200
        left = api.get("/v1/models").headers["x-ratelimit-remaining-tokens"]
    used = sum(len(request.prompt_ids) for request in engine.requests) + engine.generated_tokens
    assert int(left) == 100_000 - used


def test_a_response_in_the_background_runs_on(
    model: FakeModel, engine: FakeEngine, file: Path
) -> None:
    engine.go.clear()
    body = {"input": "Hi", "background": True}
    with served(model, file, "max_concurrency: 1") as api:
        response = api.post("/v1/responses", json=body).json()
        assert response["status"] == "in_progress"
        refused = api.post("/v1/responses", json=body)
        assert error_of(refused, 429)["code"] == "rate_limit_exceeded"
        canceller = threading.Thread(
            target=api.post, args=(f"/v1/responses/{response['id']}/cancel",)
        )
        canceller.start()  # no work, so that it is let through
        deadline = time.monotonic() + 10
        while not engine.aborted:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        engine.go.set()
        canceller.join(timeout=10)
        assert api.get(f"/v1/responses/{response['id']}").json()["status"] == "cancelled"
        assert api.post("/v1/responses", json={"input": "Hi"}).status_code == 200


def test_the_key_decides_how_early_its_requests_run(
    model: FakeModel, engine: FakeEngine, file: Path
) -> None:
    api = Keyed(model, file, "priority: 10")
    api.ask()
    api.ask(priority=-50)
    api.ask(priority=3)
    api.ask(key="sk-bob", priority=-50)
    api.ask(key="sk-admin", priority=-50)
    assert [request.priority for request in engine.requests] == [10, 10, 13, 0, -50]
    assert Api(create_app(model, ServerSettings())).chat(priority=-50).status_code == 200
    assert engine.requests[-1].priority == -50


def test_models(model: FakeModel, engine: FakeEngine, file: Path) -> None:
    api = Keyed(model, file, "models: [other/model]")
    for fields in ({}, {"model": "tiny/model"}):
        error = error_of(api.ask(**fields), 403)
        assert error["code"] == "model_not_found"
        assert "'tiny/model'" in error["message"]
    assert error_of(api.ask(model="other/model"), 404)["code"] == "model_not_found"
    assert api.get("/v1/models", headers=bearer("sk-alice")).json()["data"] == []
    one = api.get("/v1/models/tiny/model", headers=bearer("sk-alice"))
    assert error_of(one, 403)["code"] == "model_not_found"
    assert engine.requests == []
    assert len(api.get("/v1/models", headers=bearer("sk-bob")).json()["data"]) == 1
    allowed = Keyed(model, file, "models: [tiny/model]")
    assert allowed.ask(model="tiny/model").status_code == 200


def test_hashed_keys(model: FakeModel, file: Path) -> None:
    from ftllm.server.api_key import written_hash

    api = Keyed(model, file, "")
    file.write_text(f"- name: alice\n  hash: {written_hash('sk-alice')}\n")
    hashed = Api(create_app(model, ServerSettings(api_key_files=(file,))))
    assert hashed.get("/v1/models", headers=bearer("sk-alice")).status_code == 200
    assert hashed.get("/v1/models", headers=bearer(written_hash("sk-alice"))).status_code == 401
    assert api.ask().status_code == 200
