from __future__ import annotations

import pytest

from ftllm.server.app import create_app
from ftllm.server.auth import KeyRing
from ftllm.server.settings import ServerSettings

from .api import Api, error_of
from .fake_model import FakeModel


@pytest.fixture
def guarded(model: FakeModel) -> Api:
    return Api(create_app(model, ServerSettings(api_keys=("first", "zweit-ö"))))


def test_key_ring() -> None:
    keys = KeyRing(["a", "b"])
    assert keys.accepts("a")
    assert keys.accepts("b")
    assert not keys.accepts("")
    assert not keys.accepts("ab")
    assert not KeyRing([]).accepts("a")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer first"},
        {"Authorization": "bearer  first "},
        {"x-api-key": "first"},
        {"Authorization": "Basic abc", "x-api-key": "first"},
    ],
)
def test_accepts_either_header(guarded: Api, headers: dict[str, str]) -> None:
    assert guarded.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/chat/completions", "/openapi.json", "/nowhere", "/health/x"]
)
def test_everything_needs_a_key(guarded: Api, path: str) -> None:
    error = error_of(guarded.get(path), 401)
    assert error["code"] == "missing_api_key"
    response = guarded.get(path, headers={"Authorization": "Bearer wrong"})
    assert error_of(response, 401)["code"] == "invalid_api_key"
    assert response.headers["www-authenticate"] == "Bearer"
    assert "wrong" not in response.text


def test_health_is_public(guarded: Api) -> None:
    assert guarded.get("/health").status_code == 200


def test_no_keys_no_gate(api: Api) -> None:
    assert api.get("/v1/models").status_code == 200
