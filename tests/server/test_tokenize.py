from __future__ import annotations

import pytest

from .api import Api, error_of
from .fake_model import BOS, EOS, HELLO


def test_a_prompt(api: Api) -> None:
    assert api.post("/tokenize", {"prompt": "a é"}).json() == {
        "count": 5,
        "max_model_len": 500,
        "tokens": [BOS, 97, 32, 0xC3, 0xA9],
        "token_strs": None,
    }
    body = api.post("/tokenize", {"prompt": "a b<eos>", "add_special_tokens": False}).json()
    assert body["tokens"] == [97, 32, 98, EOS]


def test_the_vocabularys_own_spelling(api: Api) -> None:
    body = api.post("/tokenize", {"prompt": "a b", "return_token_strs": True}).json()
    assert body["token_strs"] == ["<bos>", "a", "Ġ", "b"]


def test_messages_are_what_a_chat_reads(api: Api) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "He"}]
    body = api.post("/tokenize", {"model": "tiny/model", "messages": messages}).json()
    assert bytes(body["tokens"][1:]) == b"[user]Hi\n[assistant]He\n[assistant]"
    assert body["tokens"][0] == BOS
    body = api.post("/tokenize", {"messages": messages, "continue_final_message": True}).json()
    assert bytes(body["tokens"][1:]) == b"[user]Hi\n[assistant]He"
    fields = {"add_generation_prompt": False, "chat_template_kwargs": {"tail": "!"}}
    body = api.post("/tokenize", {"messages": messages, **fields}).json()
    assert bytes(body["tokens"][1:]) == b"[user]Hi\n[assistant]He\n!"


def test_any_length(api: Api) -> None:
    assert api.post("/tokenize", {"prompt": "x" * 100_000}).json()["count"] == 100_001
    empty = {"prompt": "", "add_special_tokens": False}
    assert api.post("/tokenize", empty).json()["tokens"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"messages": []}, "messages"),
        ({"prompt": "a", "add_generation_prompt": True}, "add_generation_prompt"),
        ({"prompt": "a", "text": 1}, "text"),
        ({"prompt": "\ud800"}, None),
    ],
)
def test_bad_requests(api: Api, body: object, param: str | None) -> None:
    assert error_of(api.post("/tokenize", body), 400)["param"] == param


def test_another_model(api: Api) -> None:
    assert error_of(api.post("/tokenize", {"prompt": "a", "model": "x"}), 404)["param"] == "model"
    error = error_of(api.post("/detokenize", {"tokens": [1], "model": "x"}), 404)
    assert error["code"] == "model_not_found"


def test_back_to_text(api: Api) -> None:
    body = api.post("/detokenize", {"tokens": [BOS, HELLO, 32, 0xC3, 0xA9]}).json()
    assert body == {"prompt": "<bos>Hello é"}
    assert api.post("/detokenize", {"tokens": []}).json() == {"prompt": ""}


@pytest.mark.parametrize("tokens", [[-1], [260], [10**30], ["a"], [1.5], None, "ab"])
def test_bad_tokens(api: Api, tokens: object) -> None:
    error = error_of(api.post("/detokenize", {"tokens": tokens}), 400)
    assert str(error["param"]).startswith("tokens")
