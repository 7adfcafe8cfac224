"""Every family against what transformers computes in float32, from safetensors and from GGUF."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_driver import Collector, running

from ftllm.engine.build import BuiltModel
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishReason, Request
from tests.engine.models.steps import DEFAULTS, Float32Array, Part, build, chunked, logits
from tests.golden.gguf_files import GGUF_ROWS, write_gguf
from tests.golden.rows import SEEDS, GoldenRow, load_row, write_model

_BLOCKS = (5, 0, 3, 1)  # 128 tokens, not in order
_FILES = [(name, "safetensors") for name in SEEDS] + [(name, "gguf") for name in GGUF_ROWS]
_ROUNDED_IN_GGUF = {"llama_llama3"}  # its rope divisors are stored as float32


def write(row: GoldenRow, kind: str, folder: Path) -> Path:
    if kind == "gguf":
        return write_gguf(row, folder / f"{row.name}.gguf")
    return write_model(row, folder / row.name)


def load(row: GoldenRow, path: Path) -> BuiltModel:
    return build(path, replace(DEFAULTS, max_model_len=row.max_model_len))


def everything(row: GoldenRow) -> tuple[list[int], Float32Array]:
    """Prompt and greedy ids but the last, and the logits that transformers has at each place."""
    ids = [*row.prompt_ids, *row.greedy_ids[:-1]]
    return ids, np.concatenate([row.logits, row.greedy_logits[1:]])


@pytest.mark.parametrize(("name", "kind"), _FILES)
def test_prefill_agrees_with_transformers(name: str, kind: str, tmp_path: Path) -> None:
    row = load_row(name)
    ids, expected = everything(row)
    found = chunked(load(row, write(row, kind, tmp_path)).core, ids, _BLOCKS, len(ids))
    assert np.abs(found - expected).max() <= row.max_difference
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("name", SEEDS)
def test_greedy_steps_agree_with_transformers(name: str, tmp_path: Path) -> None:
    """The prompt in chunks of 5, then steps of one token that follow our own argmax."""
    row = load_row(name)
    core = load(row, write(row, "safetensors", tmp_path)).core
    prompt = chunked(core, row.prompt_ids, _BLOCKS, 5)
    assert np.abs(prompt - row.logits).max() <= row.max_difference
    chosen: list[int] = []
    last = prompt[-1]
    for expected in row.greedy_logits:
        if chosen:
            position = len(row.prompt_ids) + len(chosen) - 1
            last = logits(core, [Part(chosen[-1:], _BLOCKS, position)])[0][0]
        assert np.abs(last - expected).max() <= row.max_difference
        chosen.append(int(last.argmax()))
    assert tuple(chosen) == row.greedy_ids


@pytest.mark.parametrize("name", GGUF_ROWS)
def test_gguf_and_safetensors_give_equal_logits(name: str, tmp_path: Path) -> None:
    """The same float32 weights, so the same bits, whatever the file that they came in."""
    row = load_row(name)
    ids, _ = everything(row)
    from_gguf, from_safetensors = (
        chunked(load(row, write(row, kind, tmp_path)).core, ids, _BLOCKS, len(ids))
        for kind in ("gguf", "safetensors")
    )
    if name in _ROUNDED_IN_GGUF:
        assert np.abs(from_gguf - from_safetensors).max() <= row.max_difference / 20
    else:
        np.testing.assert_array_equal(from_gguf, from_safetensors)


@pytest.mark.parametrize(("name", "kind"), _FILES)
def test_the_engine_generates_what_transformers_does(name: str, kind: str, tmp_path: Path) -> None:
    row = load_row(name)
    model = load(row, write(row, kind, tmp_path))
    config = EngineConfig(
        max_model_len=row.max_model_len,
        max_batch=4,
        max_batched_tokens=6,
        vocab_size=model.config.vocab_size,
    )
    params = SamplingParams(temperature=0.0, max_tokens=16, logprobs=0)
    sink = Collector()
    with running(Engine(model.executor, config)) as engine:
        engine.submit(Request(request_id="r", prompt_ids=row.prompt_ids, params=params), sink)
        assert sink.wait().reason is FinishReason.LENGTH
    assert tuple(sink.tokens) == row.greedy_ids


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["llama_bias", "qwen2", "qwen3", "gemma3", "qwen3_moe"])
def test_half_precision_files_agree_with_transformers(
    name: str, dtype: str, tmp_path: Path
) -> None:
    """The weights are exact in 16 bits, and they are computed with in float32."""
    row = load_row(name)
    ids, expected = everything(row)
    path = write_model(row, tmp_path / "model", dtype)
    model = build(path, replace(DEFAULTS, dtype="auto"))
    assert model.weight_formats[0] == {"float16": "f16", "bfloat16": "bf16"}[dtype]
    found = chunked(model.core, ids, _BLOCKS, len(ids))
    assert np.abs(found - expected).max() <= row.max_difference
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
