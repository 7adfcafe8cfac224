"""Embeddings and scores of a real model over the OpenAI SDK, while it also generates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from operator import mul

import httpx
import openai
import pytest
from openai import OpenAI
from running_server import RunningServer

from .servers import ServerFactory, sdk, wait_until_idle

pytestmark = pytest.mark.e2e

MODEL = "smollm2-135m"
SIZE = 576
TEXTS = [
    "The cat sat on the mat and fell asleep.",
    "A kitten lay down on the rug for a nap.",
    "Quarterly revenue grew by twelve percent, beating all forecasts.",
    "Profits rose sharply in the third quarter, above what analysts expected.",
]


@pytest.fixture
def client(smollm2: RunningServer) -> Iterator[OpenAI]:
    with sdk(smollm2) as client:
        yield client
    wait_until_idle(smollm2)


def embed(client: OpenAI, texts: list[str]) -> list[list[float]]:
    answer = client.embeddings.create(model=MODEL, input=texts)
    return [item.embedding for item in answer.data]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(map(mul, a, b))


def test_vectors(client: OpenAI) -> None:
    """Base64, the SDK's default, and floats are the same vectors, of length 1."""
    coded = client.embeddings.create(model=MODEL, input=TEXTS)
    plain = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    assert [item.embedding for item in coded.data] == [item.embedding for item in plain.data]
    assert coded.usage.prompt_tokens == coded.usage.total_tokens > 30
    for item in coded.data:
        assert len(item.embedding) == SIZE
        assert cosine(item.embedding, item.embedding) == pytest.approx(1.0, abs=1e-5)


def test_a_text_has_one_vector_however_it_is_asked_for(client: OpenAI) -> None:
    """Alone, among others longer than a step, from a warm cache, beside an answer."""
    (alone,) = embed(client, [TEXTS[0]])
    crowd = [" ".join(TEXTS * (1 + number)) for number in range(10)]
    with client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Count."}], max_tokens=30, stream=True
    ) as stream:
        assert embed(client, [*crowd[5:], TEXTS[0], *crowd[:5]])[5] == alone
        assert [chunk for chunk in stream if chunk.choices]
    assert embed(client, [TEXTS[0]]) == [alone]


def test_dimensions(client: OpenAI) -> None:
    (whole,) = embed(client, [TEXTS[0]])
    cut = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=64).data[0].embedding
    length = math.sqrt(cosine(whole[:64], whole[:64]))
    assert cut == pytest.approx([value / length for value in whole[:64]], abs=1e-6)
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=SIZE + 1)
    assert caught.value.param == "dimensions"
    assert str(SIZE) in str(caught.value)


def test_means_tell_what_texts_are_about(serving: ServerFactory) -> None:
    """Even of a model that was made to generate."""
    with serving(MODEL, "--tokens", "4096", "--pooling", "mean") as server, sdk(server) as client:
        cat, kitten, revenue, profits = embed(client, TEXTS)
        assert cosine(cat, kitten) > cosine(cat, profits)
        assert cosine(revenue, profits) > cosine(kitten, revenue)
        with httpx.Client(base_url=server.url, timeout=60) as http:
            ranked = http.post(
                "/v1/rerank", json={"query": TEXTS[0], "documents": TEXTS[1:], "top_n": 2}
            ).json()
            scored = http.post("/v1/score", json={"text_1": TEXTS[0], "text_2": TEXTS[1:]}).json()
    assert ranked["scoring"] == scored["scoring"] == "cosine"
    assert ranked["results"][0]["index"] == 0
    assert ranked["results"][0]["document"] == {"text": TEXTS[1]}
    assert scored["data"][0]["score"] == ranked["results"][0]["relevance_score"]
    assert scored["data"][0]["score"] == pytest.approx(cosine(cat, kitten), abs=1e-5)


def test_scores_by_yes_and_no(serving: ServerFactory) -> None:
    """Any model with those words can be asked; this one is no reranker: only the shape counts."""
    options = ("--tokens", "4096", "--scoring", "yes_no")
    with (
        serving("qwen2.5-coder-0.5b", *options) as server,
        httpx.Client(base_url=server.url, timeout=120) as http,
    ):
        body = {"text_1": "What is the capital of France?", "text_2": ["Paris.", "A toaster."]}
        first, again = (http.post("/score", json=body).json() for _ in range(2))
    assert first["scoring"] == "yes_no"
    assert first["data"] == again["data"]
    assert all(0.0 < item["score"] < 1.0 for item in first["data"])
