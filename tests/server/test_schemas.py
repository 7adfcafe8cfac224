"""What a request may say, through both endpoints where they share it."""

from __future__ import annotations

import pytest

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel


@pytest.mark.parametrize(
    ("field", "value", "param"),
    [
        ("temperature", "0.5", "temperature"),
        ("temperature", -1, "temperature"),
        ("temperature", 1e9, "temperature"),
        ("temperature", True, "temperature"),
        ("top_p", 0, "top_p"),
        ("top_p", 1.5, "top_p"),
        ("min_p", 2, "min_p"),
        ("top_k", -2, "top_k"),
        ("top_k", 1.5, "top_k"),
        ("presence_penalty", 3, "presence_penalty"),
        ("frequency_penalty", -3, "frequency_penalty"),
        ("repetition_penalty", 0, "repetition_penalty"),
        ("n", 0, "n"),
        ("n", 129, "n"),
        ("n", "2", "n"),
        ("max_tokens", -5, "max_tokens"),
        ("max_tokens", 2**40, "max_tokens"),
        ("max_tokens", 10**400, "max_tokens"),
        ("min_tokens", -1, "min_tokens"),
        ("seed", 2**64, "seed"),
        ("seed", 10**400, "seed"),
        ("seed", 1.5, "seed"),
        ("stream", "yes", "stream"),
        ("stop", [""], "stop"),
        ("stop", "", "stop"),
        ("stop", 5, "stop"),
        ("stop", ["a", 5], "stop"),
        ("stop", ["x" * 1001], "stop"),
        ("stop", [f"s{i}" for i in range(200)], "stop"),
        ("stop_token_ids", [-1], "stop_token_ids"),
        ("stop_token_ids", [260], "stop_token_ids"),
        ("stop_token_ids", ["1"], "stop_token_ids[0]"),
        ("logit_bias", {"x": 1}, "logit_bias"),
        ("logit_bias", {"-1": 1}, "logit_bias"),
        ("logit_bias", {"5": 101}, "logit_bias"),
        ("logit_bias", {"5": "1"}, "logit_bias[5]"),
        ("logit_bias", {"99999": 1}, "logit_bias"),
        ("logit_bias", {str(i): 1 for i in range(1025)}, "logit_bias"),
        ("logit_bias", [1], "logit_bias"),
        ("ignore_eos", 1, "ignore_eos"),
        ("stream_options", {"include_usage": True}, "stream_options"),
        ("stream_options", {"include_usage": 1}, "stream_options.include_usage"),
    ],
)
def test_a_bad_field_is_named(api: Api, field: str, value: object, param: str) -> None:
    for response in (api.chat(**{field: value}), api.complete(**{field: value})):
        error = error_of(response, 400)
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        assert len(error["message"]) < 600


def test_200_stop_strings_are_told_the_limit(api: Api) -> None:
    message = error_of(api.chat(stop=[f"s{i}" for i in range(200)]), 400)["message"]
    assert "200" in message
    assert "64" in message


def test_stop_strings_and_choices_have_a_common_limit(api: Api) -> None:
    stops = [f"{number:0>1000}" for number in range(64)]
    assert api.chat(stop=stops).status_code == 200
    assert error_of(api.chat(stop=stops, n=2), 400)["param"] == "stop"
    assert api.chat(stop=["\n\nUser:", "</s>"], n=128).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    ("field", "template"),
    [
        ("temperature", '"temperature": %s'),
        ("top_p", '"top_p": %s'),
        ("logit_bias", '"logit_bias": {"5": %s}'),
        ("seed", '"seed": %s'),
        ("chat_template_kwargs", '"chat_template_kwargs": {"a": [{"b": %s}]}'),
    ],
)
def test_numbers_are_finite(api: Api, field: str, template: str, number: str) -> None:
    body = '{"messages": [{"role": "user", "content": "Hi"}], ' + template % number + "}"
    response = api.send("POST", "/v1/chat/completions", content=body.encode())
    assert str(error_of(response, 400)["param"]).startswith(field)


def test_unknown_fields_are_refused_by_name(api: Api) -> None:
    error = error_of(api.chat(temprature=1), 400)
    assert (error["param"], error["code"]) == ("temprature", "unknown_parameter")
    error = error_of(api.complete(tools=[]), 400)
    assert error["param"] == "tools"
    error = error_of(api.chat(messages=[{"role": "user", "content": "a", "colour": 1}]), 400)
    assert error["param"] == "messages[0].colour"
    error = error_of(api.chat(stream=True, stream_options={"often": True}), 400)
    assert error["param"] == "stream_options.often"


def test_a_million_unknown_fields_cost_one_error(api: Api) -> None:
    body = "{" + ",".join(f'"k{i}":0' for i in range(200_000)) + ',"prompt":"a"}'
    response = api.send("POST", "/v1/completions", content=body.encode())
    error = error_of(response, 400)
    assert error["param"] == "k0"
    assert len(error["message"]) < 300


def test_lenient_ignores_unknown_fields(model: FakeModel) -> None:
    lenient = Api(create_app(model, ServerSettings(lenient=True)))
    assert lenient.chat(temprature=1).status_code == 200
    message = {"role": "user", "content": "a", "colour": 1}
    assert lenient.chat(messages=[message]).status_code == 200
    assert error_of(lenient.chat(temperature="x"), 400)["param"] == "temperature"


def test_what_only_a_hosted_service_means_is_accepted(api: Api) -> None:
    fields: dict[str, object] = {
        "store": False,
        "metadata": {"a": "b"},
        "user": "me",
        "service_tier": "auto",
        "safety_identifier": "x",
        "prompt_cache_key": "y",
        "prompt_cache_retention": "24h",
        "prediction": {"type": "content", "content": "x"},
        "parallel_tool_calls": True,
    }
    assert api.chat(**fields).status_code == 200
    assert api.complete(user="me").status_code == 200


def test_null_means_left_out(api: Api, engine: FakeEngine) -> None:
    names = ["temperature", "top_p", "n", "stop", "max_tokens", "seed", "logit_bias", "logprobs"]
    names += ["stream", "stream_options", "user", "presence_penalty", "frequency_penalty", "model"]
    assert api.chat(**dict.fromkeys(names)).status_code == 200
    assert api.complete(**dict.fromkeys(names)).status_code == 200
    chat, completion = engine.requests
    assert chat.params.max_tokens is None
    assert completion.params.max_tokens == 16


def test_missing_fields_are_named(api: Api) -> None:
    error = error_of(api.post("/v1/chat/completions", {"model": "tiny/model"}), 400)
    assert (error["param"], error["code"]) == ("messages", "missing_required_parameter")
    assert error_of(api.post("/v1/completions", {}), 400)["param"] == "prompt"
    error = error_of(api.chat(messages=[{"content": "x"}]), 400)
    assert error["param"] == "messages[0].role"


def test_the_openapi_document_has_the_bodies(api: Api) -> None:
    document = api.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    chat = schemas["ChatCompletionRequest"]
    assert chat["additionalProperties"] is False
    assert {"type": "string"} in chat["properties"]["stop"]["anyOf"]
    body = document["paths"]["/v1/completions"]["post"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    assert reference.removeprefix("#/components/schemas/") in schemas
