from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey, KeyLimits
from ftllm.server.app import create_app
from ftllm.server.auth import KeyRing, Keys
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


def test_a_key_that_is_given_twice() -> None:
    named = ApiKey.of("a", "alice")
    for keys in (["a", named], [named, "a"], [named, named]):
        ring = KeyRing(keys)
        assert ring.find("a") == named
        assert len(ring) == 1
    with pytest.raises(OptionError, match="given twice, as alice and as bob"):
        KeyRing([named, ApiKey.of("a", "bob")])


def test_keys_of_one_name_have_the_same_limits() -> None:
    limits = KeyLimits(requests_per_minute=1)
    first, second = ApiKey.of("a", "alice"), ApiKey.of("b", "alice")
    assert len(KeyRing([first, second])) == 2
    assert len(KeyRing([replace(first, limits=limits), replace(second, limits=limits)])) == 2
    with pytest.raises(OptionError, match="the name 'alice' and different limits"):
        KeyRing([first, replace(second, limits=limits)])


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


@pytest.mark.parametrize("path", ["/health", "/live", "/ready"])
def test_probes_are_public(guarded: Api, path: str) -> None:
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/reset_prefix_cache"])
def test_posts_need_a_key_before_their_body_is_read(guarded: Api, path: str) -> None:
    assert error_of(guarded.post(path, {}), 401)["code"] == "missing_api_key"


def test_no_keys_no_gate(api: Api) -> None:
    assert api.get("/v1/models").status_code == 200
    assert api.get("/server_info").status_code == 200


def get_with(api: Api, path: str, key: str) -> httpx.Response:
    return api.get(path, headers={"x-api-key": key})


@pytest.mark.parametrize("path", ["/server_info", "/log_level"])
def test_admin_routes_need_the_admin_key(model: FakeModel, path: str) -> None:
    settings = ServerSettings(api_keys=("user",), admin_api_keys=("admin", "other"))
    api = Api(create_app(model, settings))
    assert error_of(api.get(path), 401)["code"] == "missing_api_key"
    assert error_of(get_with(api, path, "wrong"), 401)["code"] == "invalid_api_key"
    assert error_of(get_with(api, path, "user"), 403)["code"] == "admin_key_required"
    assert get_with(api, path, "admin").status_code == 200
    assert get_with(api, path, "other").status_code == 200
    assert get_with(api, "/v1/models", "admin").status_code == 200
    assert get_with(api, "/v1/models", "user").status_code == 200


def test_without_an_admin_key_a_guarded_server_has_no_admin(guarded: Api) -> None:
    error = error_of(get_with(guarded, "/server_info", "first"), 403)
    assert "--admin_api_key" in error["message"]


def test_an_admin_key_alone_guards_admin_routes_alone(model: FakeModel) -> None:
    api = Api(create_app(model, ServerSettings(admin_api_keys=("admin",))))
    assert api.get("/v1/models").status_code == 200
    assert error_of(api.get("/server_info"), 401)["code"] == "missing_api_key"
    assert get_with(api, "/server_info", "admin").status_code == 200


def test_server_info_shows_no_key(model: FakeModel, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-secret-1 alice")
    settings = ServerSettings(
        api_keys=("sk-secret-2",), api_key_files=(file,), admin_api_keys=("sk-secret-3",)
    )
    response = get_with(Api(create_app(model, settings)), "/server_info", "sk-secret-3")
    assert response.json()["settings"]["api_key_files"] == [str(file)]
    assert "secret" not in response.text
    assert "secret" not in repr(settings)


def test_files_are_read_again(
    model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text("old")
    keys = Keys(ServerSettings(api_keys=("fixed",), api_key_files=(file,)))
    assert keys.users.accepts("old")
    file.write_text("new someone")
    with caplog.at_level(logging.INFO, "ftllm.server"):
        keys.reload()
    assert not keys.users.accepts("old")
    assert keys.users.accepts("fixed")
    assert keys.users.find("new") == ApiKey.of("new", "someone")
    for bad in ("", "one two three"):
        file.write_text(bad)
        keys.reload()
        assert keys.users.accepts("new")
    file.unlink()
    keys.reload()
    assert keys.users.accepts("new")
    messages = [record.getMessage() for record in caplog.records]
    assert "2 are accepted" in messages[0]
    assert [message.startswith("the API keys stay as they are") for message in messages[1:]]
    assert len(messages) == 4
    assert not any("three" in message for message in messages)


def test_the_log_has_the_name_of_the_key(
    model: FakeModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text("alice: sk-1\nbob: sk-2\n")
    api = Api(create_app(model, ServerSettings(api_key_files=(file,))))
    with caplog.at_level(logging.INFO, "ftllm.access"):
        assert get_with(api, "/v1/models", "sk-2").status_code == 200
    assert caplog.records[-1].getMessage().endswith(" key bob")
    assert "sk-2" not in caplog.text
