"""Embeddings and token scores through the whole engine, against what transformers computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_driver import Collector, running

from ftllm.engine.build import BuildOptions, BuiltModel
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.pooling import EmbeddingParams, PoolingMethod, PoolingParams, TokenScoresParams
from ftllm.engine.request import FinishReason, Request
from ftllm.errors import OptionError, RequestError, UnsupportedModelError
from tests.engine.models.steps import DEFAULTS, Float32Array, build
from tests.golden.encoders import ENCODERS
from tests.golden.hidden import HIDDEN_SEEDS, HiddenRow, load_hidden, write_bare_model
from tests.golden.rows import load_row, write_model

CLASSIFIER = "xlm_roberta_classifier"
_METHODS = tuple(PoolingMethod)


def make_engine(model: BuiltModel) -> Engine:
    config = EngineConfig(
        max_model_len=model.config.max_model_len,
        max_batch=4,
        max_batched_tokens=model.executor.max_batched_tokens,
        vocab_size=model.config.vocab_size,
        embedding_size=model.core.hidden_width,
        generates=model.generates,
        causal=model.causal,
    )
    return Engine(model.executor, config)


def values(engine: Engine, ids: tuple[int, ...], params: PoolingParams) -> tuple[float, ...]:
    sink = Collector()
    engine.submit(Request(request_id="r", prompt_ids=ids, pooling=params), sink)
    end = sink.wait()
    assert (end.reason, end.error) == (FinishReason.STOP, None)
    assert end.values is not None
    return end.values


def pooled(hidden: Float32Array, method: PoolingMethod) -> Float32Array:
    match method:
        case PoolingMethod.LAST:
            return hidden[-1]
        case PoolingMethod.CLS:
            return hidden[0]
        case PoolingMethod.MEAN:
            return hidden.mean(axis=0)


def check(row: HiddenRow, engine: Engine) -> None:
    """Raw, of length 1, and cut."""
    for method in _METHODS:
        expected = pooled(row.hidden, method)
        found = values(engine, row.prompt_ids, EmbeddingParams(method=method, normalize=False))
        assert np.abs(np.array(found) - expected).max() <= row.max_difference
        unit = values(engine, row.prompt_ids, EmbeddingParams(method=method))
        np.testing.assert_allclose(unit, expected / np.linalg.norm(expected), atol=1e-4)
        short = values(engine, row.prompt_ids, EmbeddingParams(method=method, dimensions=10))
        cut = expected[:10] / np.linalg.norm(expected[:10])
        np.testing.assert_allclose(short, cut, atol=1e-4)


@pytest.mark.parametrize("rows", [128, 16])
@pytest.mark.parametrize("name", [name for name in HIDDEN_SEEDS if name != CLASSIFIER])
def test_embeddings_agree_with_transformers(name: str, rows: int, tmp_path: Path) -> None:
    """In one step and, where tokens do not see what follows, in chunks."""
    row = load_hidden(name)
    path = write_bare_model(row, tmp_path, prefix="model." if name not in ENCODERS else "")
    model = build(path, replace(DEFAULTS, max_batched_tokens=rows))
    assert model.core.hidden_width == row.hidden.shape[1]
    with running(make_engine(model)) as engine:
        check(row, engine)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("qwen3", ""), ("bert", "bert."), ("xlm_roberta", "roberta."), ("llama", "")],
)
def test_a_bare_model_has_names_of_its_own(name: str, prefix: str, tmp_path: Path) -> None:
    """Checkpoints of embedding models leave "model." out."""
    row = load_hidden(name)
    with running(make_engine(build(write_bare_model(row, tmp_path, prefix=prefix)))) as engine:
        check(row, engine)


def test_without_an_output_layer_nothing_is_generated(tmp_path: Path) -> None:
    row = load_hidden("qwen3")
    untied = replace(row, config={**row.config, "tie_word_embeddings": False})
    model = build(write_bare_model(untied, tmp_path))
    assert not model.generates
    with running(make_engine(model)) as engine:
        check(row, engine)
        for params in (None, TokenScoresParams(token_ids=(1,))):
            request = Request(request_id="g", prompt_ids=(1, 2), pooling=params)
            with pytest.raises(RequestError, match="no output layer"):
                engine.submit(request, Collector())


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "qwen3_moe"])
def test_token_scores_agree_with_transformers(name: str, tmp_path: Path) -> None:
    row = load_row(name)
    ids = (5, 200, int(row.logits[-1].argmax()))
    model = build(write_model(row, tmp_path), replace(DEFAULTS, max_batched_tokens=7))
    with running(make_engine(model)) as engine:
        found = values(engine, row.prompt_ids, TokenScoresParams(token_ids=ids))
    last = row.logits[-1].astype(np.float64)
    logprobs = last - last.max() - np.log(np.exp(last - last.max()).sum())
    np.testing.assert_allclose(found, logprobs[list(ids)], atol=2 * row.max_difference)


def test_a_classifier_agrees_with_transformers(tmp_path: Path) -> None:
    row = load_hidden(CLASSIFIER)
    model = build(write_bare_model(row, tmp_path))
    assert model.core.hidden_width == 1
    params = EmbeddingParams(method=PoolingMethod.CLS, normalize=False)
    with running(make_engine(model)) as engine:
        found = values(engine, row.prompt_ids, params)
    np.testing.assert_allclose(found, row.hidden[0], atol=1e-4)
    labels = {"id2label": {"0": "no", "1": "yes"}}
    with pytest.raises(UnsupportedModelError, match="of 2 labels is not supported"):
        build(write_bare_model(replace(row, config={**row.config, **labels}), tmp_path))


def test_encoders_take_what_their_positions_allow(tmp_path: Path) -> None:
    """XLM-R's first two positions are no token's. A step grows to hold a whole prompt."""
    path = write_bare_model(load_hidden("xlm_roberta"), tmp_path)
    options = BuildOptions(dtype="float32", threads=1, tokens=512, max_batched_tokens=16)
    model = build(path, options)
    assert model.config.max_model_len == model.executor.max_batched_tokens == 128
    assert (model.causal, model.generates) == (False, False)
    with pytest.raises(OptionError, match="has only 128 positions"):
        build(path, replace(options, max_model_len=200))


def test_models_whose_answer_would_be_wrong_are_refused(tmp_path: Path) -> None:
    row = load_hidden("bert")
    for change, message in (
        ({"architectures": ["BertForSequenceClassification"]}, "a bert classifier of 2 labels"),
        ({"architectures": ["BertForTokenClassification"]}, "BertForTokenClassification, a model"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
    ):
        path = write_bare_model(replace(row, config={**row.config, **change}), tmp_path)
        with pytest.raises(UnsupportedModelError, match=message):
            build(path)
    gemma = load_hidden("gemma3")
    headed = {**gemma.config, "architectures": ["Gemma3ForSequenceClassification"]}
    with pytest.raises(UnsupportedModelError, match="Gemma3ForSequenceClassification, a model"):
        build(write_bare_model(replace(gemma, config=headed), tmp_path, prefix="model."))
    both_ways = replace(gemma, config={**gemma.config, "use_bidirectional_attention": True})
    with pytest.raises(UnsupportedModelError, match="use_bidirectional_attention"):
        build(write_bare_model(both_ways, tmp_path, prefix="model."))
