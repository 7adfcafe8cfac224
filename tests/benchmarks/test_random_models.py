"""Random models: every recipe loads, the formats hold one model, and files are made once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from block_encoders import ENCODERS, encode
from random_models import RECIPES, SAFETENSORS, SHAPES, RandomWeights, Shape, random_model

from ftllm import LLM, SamplingParams, _core

TINY = Shape(
    layers=2,
    hidden=256,
    heads=4,
    kv_heads=2,
    head_dim=64,
    vocabulary=512,
    tied=True,
    intermediate=512,
)
TINY_MOE = Shape(
    layers=2,
    hidden=256,
    heads=4,
    kv_heads=2,
    head_dim=64,
    vocabulary=512,
    tied=False,
    intermediate=256,
    experts=4,
    experts_per_token=2,
)


def logprobs(path: Path) -> np.ndarray:
    """Of a fixed text's tokens, by the model at `path`."""
    with LLM(path, tokens=512, kv_cache_dtype="float32", progress=False) as llm:
        params = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, prompt_logprobs=0)
        (result,) = llm.generate(["Some bytes, and more."], params, progress=False)
    assert result.prompt_logprobs is not None
    return np.array([entry.logprob for entry in result.prompt_logprobs if entry is not None])


@pytest.mark.parametrize("dtype", ENCODERS)
def test_encoded_blocks_are_what_the_engine_reads(dtype: str) -> None:
    values = np.random.default_rng(7).standard_normal((24, 512)).astype(np.float32)
    values[0, :256] = 0  # a block without any scale
    weight = _core.Weight(format=dtype, rows=24, columns=512)
    data = memoryview(encode(values, dtype)).cast("B")
    weight.fill(first_row=0, count=24, source=dtype, data=data, pool=_core.ThreadPool(1))
    bits = {"f32": 24, "bf16": 9, "q8_0": 7, "q6_k": 5, "q4_0": 3, "q4_k": 4}[dtype]
    # Half a step of the largest value of a block, and the rounding of its scale.
    limit = np.abs(values).max() * 2.0**-bits * 1.1
    assert np.abs(weight.unpack() - values).max() <= limit
    assert not weight.unpack()[0, :256].any()


def test_an_encoder_refuses_a_part_of_a_block() -> None:
    with pytest.raises(ValueError, match="blocks of 256 columns; 384 do not fit"):
        encode(np.zeros((1, 384), np.float32), "q4_k")


@pytest.mark.parametrize("shape", [TINY, TINY_MOE], ids=["dense", "experts"])
def test_every_recipe_is_the_same_model(shape: Shape, tmp_path: Path) -> None:
    exact = logprobs(random_model(shape, "f32", folder=tmp_path))
    assert np.ptp(exact) > 0.5  # it does depend on the text
    worst = {"bf16": 0.03, "q8_0": 0.05, "q4_0": 0.4, "q4_k_m": 0.4, SAFETENSORS: 0.03}
    for recipe in set(RECIPES) - {"f32"}:
        error = np.abs(logprobs(random_model(shape, recipe, folder=tmp_path)) - exact)
        assert np.median(error) < worst[recipe], recipe


def test_a_model_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = random_model(TINY, "q8_0", folder=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    monkeypatch.setattr(RandomWeights, "pieces", None)
    assert random_model(TINY, "q8_0", folder=tmp_path) == path


def test_a_model_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="blocks of 256 columns"):
        random_model(SHAPES["moe"], "q4_k_m", folder=tmp_path)
    with pytest.raises(ValueError, match="known are f32"):
        random_model(TINY, "q3_k", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
