from __future__ import annotations

import base64
import struct
from collections.abc import Iterator

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from ftllm.engine.pooling import EmbeddingParams, PoolingMethod
from ftllm.errors import QueueFullError, RequestError
from ftllm.server.app import create_app
from ftllm.server.pooled import WINDOW
from ftllm.server.schemas.pooling import MAX_INPUTS
from ftllm.server.settings import ServerSettings

from .api import Api, Json, error_of, listening
from .fake_engine import EMBEDDING_SIZE, FakeEngine, pooled_values
from .fake_model import BOS, MAX_MODEL_LEN, FakeModel


def embed(api: Api, value: object, /, **fields: object) -> httpx.Response:
    return api.post("/v1/embeddings", {"model": "tiny/model", "input": value, **fields})


def test_a_whole_answer(api: Api, engine: FakeEngine) -> None:
    body: Json = embed(api, "abc").json()
    (item,) = body.pop("data")
    assert body == {
        "object": "list",
        "model": "tiny/model",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    (request,) = engine.requests
    assert request.prompt_ids == (BOS, *b"abc")
    assert request.pooling == EmbeddingParams(method=PoolingMethod.LAST)
    values = list(pooled_values(request))
    assert item == {"object": "embedding", "index": 0, "embedding": values}
    assert len(values) == EMBEDDING_SIZE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ab", [(BOS, 97, 98)]),
        (["ab", "c"], [(BOS, 97, 98), (BOS, 99)]),
        ([97, 98], [(97, 98)]),
        ([[97], [98, 99]], [(97,), (98, 99)]),
        (["a", [99]], [(BOS, 97), (99,)]),
    ],
)
def test_every_form_of_input(
    api: Api, engine: FakeEngine, value: object, expected: list[tuple[int, ...]]
) -> None:
    data = embed(api, value).json()["data"]
    assert [item["index"] for item in data] == list(range(len(expected)))
    assert [request.prompt_ids for request in engine.requests] == expected
    for item, request in zip(data, engine.requests, strict=True):
        assert item["embedding"] == list(pooled_values(request))


def test_base64_is_the_same_vector(api: Api) -> None:
    plain = embed(api, "abc", encoding_format="float").json()["data"][0]["embedding"]
    coded = embed(api, "abc", encoding_format="base64").json()["data"][0]["embedding"]
    assert list(struct.unpack(f"<{EMBEDDING_SIZE}f", base64.b64decode(coded))) == plain


def test_dimensions(api: Api, engine: FakeEngine) -> None:
    vector = embed(api, "abc", dimensions=3).json()["data"][0]["embedding"]
    assert len(vector) == 3
    assert engine.requests[0].pooling == EmbeddingParams(method=PoolingMethod.LAST, dimensions=3)


@pytest.mark.parametrize(
    ("fields", "param", "part"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty"),
        ({"input": [[1], []]}, "input", "empty"),
        ({"input": [1, "a"]}, "input", "string"),
        ({"input": 3}, "input", "string"),
        ({"input": None}, "input", "string"),
        ({}, "input", "required"),
        ({"input": [258, 260]}, "input", "token id 260"),
        ({"input": [-1]}, "input", "token id -1"),
        ({"input": ["a"] * (MAX_INPUTS + 1)}, "input", f"at most {MAX_INPUTS}"),
        ({"input": "a", "dimensions": 0}, "dimensions", "greater than or equal to 1"),
        ({"input": "a", "dimensions": "3"}, "dimensions", "integer"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format", "base64"),
        ({"input": "a", "unknown": 1}, "unknown", "Unknown field"),
        ({"input": "a\ud800"}, None, ""),
        ({"input": "x" * MAX_MODEL_LEN}, "input", f"length is {MAX_MODEL_LEN} tokens"),
    ],
)
def test_refusals(api: Api, engine: FakeEngine, fields: Json, param: str | None, part: str) -> None:
    error = error_of(api.post("/v1/embeddings", fields), 400)
    assert error["param"] == param
    assert part in error["message"]
    assert engine.requests == []


def test_a_text_may_fill_the_context(api: Api) -> None:
    answer = embed(api, "x" * (MAX_MODEL_LEN - 1)).json()
    assert answer["usage"]["prompt_tokens"] == MAX_MODEL_LEN


@pytest.mark.parametrize(
    ("value", "count", "expected"),
    [
        ("abcd", 3, (BOS, 97, 98)),
        ("abcd", 9, (BOS, 97, 98, 99, 100)),
        ([1, 2, 3], 2, (1, 2)),
        ("x" * 9999, -1, (BOS, *b"x" * (MAX_MODEL_LEN - 1))),
        ("x" * 9999, 9999, (BOS, *b"x" * (MAX_MODEL_LEN - 1))),
    ],
)
def test_long_texts_can_be_cut(
    api: Api, engine: FakeEngine, value: object, count: int, expected: tuple[int, ...]
) -> None:
    answer = embed(api, value, truncate_prompt_tokens=count)
    assert answer.json()["usage"]["prompt_tokens"] == len(expected)
    assert engine.requests[0].prompt_ids == expected


@pytest.mark.parametrize("count", [0, 1, -2])
def test_nothing_is_left_of_a_text(api: Api, count: int) -> None:
    error = error_of(embed(api, "abcd", truncate_prompt_tokens=count), 400)
    assert error["param"] == "truncate_prompt_tokens"


def test_another_model(api: Api) -> None:
    error = error_of(embed(api, "a", model="gpt-9"), 404)
    assert error["code"] == "model_not_found"


def test_what_the_engine_refuses(api: Api, engine: FakeEngine) -> None:
    engine.refuse = RequestError("dimensions is 9, but …", param="dimensions")
    assert error_of(embed(api, "a", dimensions=9), 400)["param"] == "dimensions"
    engine.refuse = QueueFullError("full", retry_after=2)
    full = embed(api, "a")
    assert error_of(full, 429)["code"] == "queue_full"
    assert full.headers["retry-after"] == "2"


def test_a_failed_text_fails_the_request(api: Api, engine: FakeEngine) -> None:
    engine.fail_after = 0
    assert "kernel" not in error_of(embed(api, ["a", "b"]), 500)["message"]
    assert engine.wait_idle()


def test_many_texts_take_turns(api: Api, engine: FakeEngine) -> None:
    """No more than a window is in the engine, and a full queue makes the rest wait."""
    most = 0
    submit = engine.submit

    def watched(*arguments: object) -> None:
        nonlocal most
        if engine.live >= 40:
            raise QueueFullError("full")
        submit(*arguments)  # type: ignore[arg-type]
        most = max(most, engine.live)

    engine.submit = watched  # type: ignore[method-assign,assignment]
    texts = [f"text {number}" for number in range(3 * WINDOW)]
    data = embed(api, texts).json()["data"]
    assert most <= 40
    by_ids = {request.prompt_ids: request for request in engine.requests}
    for text, item in zip(texts, data, strict=True):
        assert item["embedding"] == list(pooled_values(by_ids[(BOS, *text.encode())]))


def test_hanging_up_aborts(model: FakeModel, engine: FakeEngine) -> None:
    engine.go.clear()
    with listening(create_app(model, ServerSettings())) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/embeddings", json={"input": ["a", "b"]}, timeout=0.3)
        engine.go.set()
        assert engine.wait_idle()


@pytest.fixture
def client(model: FakeModel) -> Iterator[OpenAI]:
    with (
        listening(create_app(model, ServerSettings())) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_the_sdk(client: OpenAI, engine: FakeEngine) -> None:
    """It asks for base64 unless told otherwise, and decodes it."""
    default = client.embeddings.create(model="tiny/model", input=["ab", "c"])
    plain = client.embeddings.create(model="tiny/model", input=["ab", "c"], encoding_format="float")
    for index, (coded, item) in enumerate(zip(default.data, plain.data, strict=True)):
        assert coded.index == item.index == index
        assert coded.embedding == item.embedding == list(pooled_values(engine.requests[index]))
    assert default.usage.total_tokens == 5
    assert len(client.embeddings.create(model="tiny/model", input="a", dimensions=2).data) == 1
    with pytest.raises(BadRequestError):
        client.embeddings.create(model="tiny/model", input="")
    with pytest.raises(NotFoundError):
        client.embeddings.create(model="other", input="a")
