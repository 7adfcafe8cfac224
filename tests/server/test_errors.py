from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from ftllm.errors import (
    CheckpointError,
    ContextLengthError,
    EngineStoppedError,
    QueueFullError,
    RequestError,
)
from ftllm.server.errors import (
    ClientDisconnectedError,
    EngineFailureError,
    GrammarFailureError,
    is_expected,
    param_path,
    reply_for,
)

from .api import Api, error_of


class Numbers(BaseModel):
    values: list[int]


def validation_error(value: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Numbers.model_validate({"values": value}, strict=True)
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (RequestError("no", param="n"), 400, "invalid_request_error", "invalid_value"),
        (ContextLengthError("long"), 400, "invalid_request_error", "context_length_exceeded"),
        (QueueFullError("full", retry_after=7), 429, "rate_limit_error", "queue_full"),
        (EngineStoppedError("bye"), 503, "server_error", "engine_stopped"),
        (GrammarFailureError("stuck"), 500, "server_error", "grammar_failed"),
        (EngineFailureError("kernel"), 500, "server_error", "internal_error"),
        (ZeroDivisionError("secret"), 500, "server_error", "internal_error"),
        (ClientDisconnectedError(), 499, "invalid_request_error", "client_disconnected"),
    ],
)
def test_every_error_has_a_reply(error: Exception, status: int, kind: str, code: str) -> None:
    reply = reply_for(error, request_id="req-1")
    assert (reply.status, reply.kind, reply.code) == (status, kind, code)
    assert ("Retry-After" in reply.headers) == (status in (429, 503))


def test_retry_after_is_the_engines() -> None:
    reply = reply_for(QueueFullError("full", retry_after=7), request_id="")
    assert reply.headers["Retry-After"] == "7"


def test_internal_errors_show_only_the_request_id() -> None:
    errors = ZeroDivisionError("secret"), EngineFailureError("secret"), CheckpointError("secret")
    for error in errors:
        assert not is_expected(error)
        message = reply_for(error, request_id="req-77").message
        assert "req-77" in message
        assert "secret" not in message


def test_param_paths_are_openais() -> None:
    assert param_path(("messages", 0, "role")) == "messages[0].role"
    assert param_path(("logit_bias", "x", "[key]")) == "logit_bias.x"
    assert param_path(()) == ""


def test_at_most_ten_errors_are_quoted() -> None:
    reply = reply_for(validation_error(["x"] * 25), request_id="")
    assert reply.message.count("values[") == 10
    assert reply.message.endswith("and 15 more")
    assert reply.param == "values[0]"


def test_long_input_is_clipped() -> None:
    reply = reply_for(validation_error(["y" * 100_000]), request_id="")
    assert 150 < reply.message.count("y") <= 210
    assert len(reply.message) < 400
    reply = reply_for(validation_error({"z" * 9000: 1}), request_id="")
    assert "an object of 1" in reply.message
    assert "zz" not in reply.message


def test_long_messages_are_clipped() -> None:
    reply = reply_for(RequestError("the template says: " + "x" * 100_000, param="p"), request_id="")
    assert len(reply.message) == 2001
    assert reply.param == "p"


def test_unknown_path_and_method(api: Api) -> None:
    assert error_of(api.get("/v1/nothing"), 404)["code"] == "not_found"
    response = api.get("/v1/completions")
    assert error_of(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"
