from __future__ import annotations

from .api import Api, error_of


def test_list_and_retrieve(api: Api) -> None:
    body = api.get("/v1/models").json()
    assert body["object"] == "list"
    (card,) = body["data"]
    assert (card["id"], card["object"], card["max_model_len"]) == ("tiny/model", "model", 500)
    assert api.get("/v1/models/tiny/model").json() == card
    assert api.get("/v1/models/tiny%2Fmodel").json() == card


def test_unknown(api: Api) -> None:
    error = error_of(api.get("/v1/models/gpt-9"), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
