from __future__ import annotations

import math
from dataclasses import replace

import httpx
import pytest

from ftllm.engine.pooling import EmbeddingParams, PoolingMethod, TokenScoresParams
from ftllm.pooling_profile import Judge
from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from ftllm.text.judge_prompt import JudgePrompt

from .api import Api, Json, error_of
from .fake_engine import FakeEngine, pooled_values
from .fake_model import BETWEEN, BOS, FakeModel

DOCUMENTS = ["zzzz", "abcd", "ab"]


@pytest.fixture
def judge(model: FakeModel) -> Api:
    """A model that answers yes (89) or no (78)."""
    prompt = JudgePrompt("[{query}|{document}]")
    answers = Judge(prompt, TokenScoresParams(token_ids=(89, 78)))
    judging = replace(model, pooling=replace(model.pooling, judge=answers))
    return Api(create_app(judging, ServerSettings()))


def rerank(api: Api, path: str = "/v1/rerank", **fields: object) -> httpx.Response:
    return api.post(path, {"query": "abcd", "documents": DOCUMENTS, **fields})


def cosine(engine: FakeEngine, first: str, second: str) -> float:
    vectors = {
        bytes(request.prompt_ids[1:]).decode(): pooled_values(request)
        for request in engine.requests
    }
    return sum(a * b for a, b in zip(vectors[first], vectors[second], strict=True))


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_rerank(api: Api, engine: FakeEngine, path: str) -> None:
    """Best first; each text is embedded once, the query too."""
    body: Json = rerank(api, path, model="tiny/model").json()
    assert body["id"].startswith("rerank-")
    assert (body["model"], body["scoring"]) == ("tiny/model", "cosine")
    assert body["usage"] == {"prompt_tokens": 13, "total_tokens": 13}
    assert sorted(request.prompt_ids for request in engine.requests) == sorted(
        (BOS, *text.encode()) for text in ("abcd", "zzzz", "ab")
    )
    assert all(
        request.pooling == EmbeddingParams(method=PoolingMethod.LAST) for request in engine.requests
    )
    results = body["results"]
    assert [entry["index"] for entry in results] == [1, 2, 0]
    assert results[0]["relevance_score"] == pytest.approx(1.0)
    for entry in results:
        text = DOCUMENTS[entry["index"]]
        assert entry["document"] == {"text": text}
        assert entry["relevance_score"] == pytest.approx(cosine(engine, "abcd", text))


def test_top_n_and_documents(api: Api) -> None:
    results = rerank(api, top_n=2, return_documents=False).json()["results"]
    assert [set(entry) for entry in results] == [{"index", "relevance_score"}] * 2
    assert [entry["index"] for entry in results] == [1, 2]
    assert len(rerank(api, top_n=99).json()["results"]) == 3
    objects = [{"text": text} for text in DOCUMENTS]
    assert len(rerank(api, documents=objects).json()["results"]) == 3


def test_equal_scores_keep_their_order(api: Api) -> None:
    results = rerank(api, documents=["dcba", "abcd", "bacd"]).json()["results"]
    assert [entry["index"] for entry in results] == [0, 1, 2]


def test_a_judge_reads_each_pair(judge: Api, engine: FakeEngine) -> None:
    body = rerank(judge, documents=["a", "{query}bb"]).json()
    assert body["scoring"] == "yes_no"
    prompts = [bytes(request.prompt_ids).decode() for request in engine.requests]
    assert prompts == ["[abcd|a]", "[abcd|{query}bb]"]  # no BOS: the prompt spells all
    assert {request.pooling for request in engine.requests} == {
        TokenScoresParams(token_ids=(89, 78))
    }
    error = error_of(rerank(judge, truncate_prompt_tokens=9), 400)
    assert error["param"] == "truncate_prompt_tokens"
    scores = {entry["index"]: entry["relevance_score"] for entry in body["results"]}
    for index, request in enumerate(engine.requests):
        yes, no = pooled_values(request)
        assert scores[index] == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)))


def test_a_query_counts_once_for_each_document(model: FakeModel, engine: FakeEngine) -> None:
    answers = Judge(JudgePrompt("{query}{document}"), TokenScoresParams(token_ids=(89, 78)))
    judging = replace(model, pooling=replace(model.pooling, judge=answers))
    judge = Api(create_app(judging, ServerSettings(max_body_bytes=3000)))
    error = error_of(rerank(judge, query="x" * 1000), 400)
    assert "3 pairs have 3010 characters" in error["message"]
    assert engine.requests == []
    assert rerank(judge, query="x" * 400).status_code == 200


def test_a_classifier_reads_both_texts_at_once(model: FakeModel, engine: FakeEngine) -> None:
    profile = replace(model.pooling, method=PoolingMethod.CLS, classifies=True)
    classifier = Api(create_app(replace(model, pooling=profile), ServerSettings()))
    body = classifier.post("/v1/score", {"text_1": "a", "text_2": ["b", "c"]}).json()
    assert body["scoring"] == "classifier"
    assert [request.prompt_ids for request in engine.requests] == [
        (BOS, *b"a", *BETWEEN, *b"b"),
        (BOS, *b"a", *BETWEEN, *b"c"),
    ]
    for item, request in zip(body["data"], engine.requests, strict=True):
        assert request.pooling == EmbeddingParams(method=PoolingMethod.CLS, normalize=False)
        logit = pooled_values(request)[0]
        assert item["score"] == pytest.approx(1 / (1 + math.exp(-logit)))
    cut = {"text_1": "a", "text_2": "bcde", "truncate_prompt_tokens": 6}
    classifier.post("/v1/score", cut)
    assert engine.requests[-1].prompt_ids == (BOS, *b"a", *BETWEEN, *b"bc")
    error = error_of(classifier.post("/v1/embeddings", {"input": "a"}), 400)
    assert error["code"] == "unsupported_model"


@pytest.mark.parametrize("path", ["/v1/score", "/score"])
def test_score(api: Api, engine: FakeEngine, path: str) -> None:
    body = api.post(path, {"text_1": "ab", "text_2": ["ab", "zz"]}).json()
    assert body["id"].startswith("score-")
    assert (body["object"], body["model"], body["scoring"]) == ("list", "tiny/model", "cosine")
    assert [(item["index"], item["object"]) for item in body["data"]] == [
        (0, "score"),
        (1, "score"),
    ]
    assert body["data"][0]["score"] == pytest.approx(1.0)
    assert body["data"][1]["score"] == pytest.approx(cosine(engine, "ab", "zz"))
    assert body["usage"]["prompt_tokens"] == 6


def test_score_pairs_in_order(api: Api) -> None:
    body = api.post("/v1/score", {"text_1": ["ab", "zz"], "text_2": ["zz", "zz"]}).json()
    assert body["data"][0]["score"] < 0.99
    assert body["data"][1]["score"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("path", "fields", "param", "part"),
    [
        ("/v1/rerank", {"documents": ["a"]}, "query", "required"),
        ("/v1/rerank", {"query": "a"}, "documents", "required"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents", "empty"),
        ("/v1/rerank", {"query": "a", "documents": [1]}, "documents", "string"),
        ("/v1/rerank", {"query": "a", "documents": [{"title": "a"}]}, "documents", "string"),
        ("/v1/rerank", {"query": ["a"], "documents": ["a"]}, "query", "string"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "top_n": 0}, "top_n", "greater"),
        ("/v1/rerank", {"query": "a", "documents": ["a"], "rank": 1}, "rank", "Unknown field"),
        ("/v1/rerank", {"query": "a", "documents": ["x" * 600]}, "documents", "500 tokens"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1", "2 texts"),
        ("/v1/score", {"text_1": "a"}, "text_2", "required"),
        ("/v1/score", {"text_1": "a", "text_2": []}, "text_2", "empty"),
        ("/v1/score", {"text_1": "a", "text_2": {"text": 1}}, "text_2", "string"),
    ],
)
def test_refusals(
    api: Api, engine: FakeEngine, path: str, fields: Json, param: str, part: str
) -> None:
    error = error_of(api.post(path, fields), 400)
    assert error["param"] == param
    assert part in error["message"]
    assert engine.requests == []


def test_another_model(api: Api) -> None:
    assert error_of(rerank(api, model="gpt-9"), 404)["code"] == "model_not_found"
