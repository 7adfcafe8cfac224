from __future__ import annotations

import pytest

from ftllm.errors import OptionError
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api
from .fake_engine import FakeEngine
from .fake_model import FakeModel

PAGE = "https://chat.example.com"


def shared(model: FakeModel, *origins: str) -> Api:
    settings = ServerSettings(api_keys=("sk-1",), cors_origins=origins)
    return Api(create_app(model, settings))


def preflight(api: Api, origin: str) -> dict[str, str]:
    answer = api.send(
        "OPTIONS",
        "/v1/chat/completions",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        },
    )
    return {"status": str(answer.status_code), **answer.headers}


def test_browsers_ask_before_they_send_a_key(model: FakeModel) -> None:
    answer = preflight(shared(model, PAGE), PAGE)
    assert answer["status"] == "200"
    assert answer["access-control-allow-origin"] == PAGE
    assert "POST" in answer["access-control-allow-methods"]
    assert "authorization" in answer["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer


def test_other_pages_are_not_allowed(model: FakeModel) -> None:
    answer = preflight(shared(model, PAGE), "https://evil.example.com")
    assert answer["status"] == "400"
    assert "access-control-allow-origin" not in answer
    assert preflight(shared(model, "*"), "https://any.example.com")["status"] == "200"


def test_answers_and_refusals_can_be_read(model: FakeModel, engine: FakeEngine) -> None:
    api = shared(model, PAGE)
    headers = {"Origin": PAGE, "x-api-key": "sk-1"}
    for path, key, status in (("/v1/models", "sk-1", 200), ("/v1/models", "wrong", 401)):
        answer = api.get(path, headers={**headers, "x-api-key": key})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].lower()
        for name in ("x-request-id", "retry-after", "x-ratelimit-remaining-tokens"):
            assert name in exposed
    engine.refuse = RuntimeError("unexpected")
    body = b'{"prompt": "a"}'
    json = {**headers, "Content-Type": "application/json"}
    failed = api.send("POST", "/v1/completions", content=body, headers=json)
    assert failed.status_code == 500
    assert failed.headers["access-control-allow-origin"] == PAGE


def test_it_is_off_by_default(api: Api) -> None:
    assert preflight(api, PAGE)["status"] == "405"
    answer = api.get("/v1/models", headers={"Origin": PAGE})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["example.com", "https://example.com/", "https://a.b/c", ""])
def test_an_origin_that_no_browser_sends(origin: str) -> None:
    with pytest.raises(OptionError, match="cors_origin is"):
        ServerSettings(cors_origins=(origin,))
