"""The promise: a sequence's logits have the same bits however its work is scheduled.

Alone in one prefill on one thread is compared with: among 15 others, in chunks, token by token,
from a warm prefix cache, in other KV blocks, and on two threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ftllm import _core
from ftllm.engine.build import BuildOptions
from tests.engine.models.quantized_llama import write_quantized_llama
from tests.engine.models.steps import Float32Array, Part, build, chunked, logits
from tests.golden.rows import load_row, write_model

_BLOCK = _core.KV_BLOCK_SIZE
_OPTIONS = BuildOptions(
    dtype="auto", threads=1, tokens=4096, max_batch=16, max_batched_tokens=1024, max_model_len=128
)

_GGUF_WEIGHTS = (
    *("f32", "f16", "bf16", "q8_0", "q4_k", "q5_0", "q5_k", "q6_k"),
    *("q2_k", "q3_k", "iq4_nl", "iq4_xs", "mxfp4", "iq3_xxs", "iq2_s", "iq1_m"),
)


def sequence(length: int, seed: int, vocab: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, length).tolist()


@dataclass(frozen=True, slots=True)
class Case:
    """One sequence, the tables of blocks that tests may use, and its logits alone."""

    core: _core.Executor
    ids: Sequence[int]
    vocab: int
    expected: Float32Array  # (len(ids), V)

    def blocks(self, owner: int) -> list[int]:
        """Blocks of sequence number `owner`, not in order; 0 owns those of `expected`."""
        count = -(-len(self.ids) // _BLOCK)
        return [owner * count + (7 * place + 1) % count for place in range(count)]


def open_case(path: Path, options: BuildOptions, length: int) -> Case:
    model = build(path, options)
    vocab = model.config.vocab_size
    ids = sequence(length, 0, vocab)
    case = Case(model.core, ids, vocab, np.zeros(0, np.float32))
    alone = logits(model.core, [Part(ids, case.blocks(0))])[0]
    assert np.isfinite(alone).all()
    assert len(np.unique(alone)) > alone.size // 2  # not a degenerate model
    return replace(case, expected=alone)


def check_batch_of_16(case: Case) -> None:
    """Ours is the sixth; the others differ in length, and each is equal to itself alone."""
    lengths = [1 + (17 * place) % len(case.ids) for place in range(16)]
    others = [sequence(length, 1 + place, case.vocab) for place, length in enumerate(lengths)]
    parts = [Part(ids, case.blocks(1 + place)) for place, ids in enumerate(others)]
    parts[5] = Part(case.ids, case.blocks(6))
    found = logits(case.core, parts)
    np.testing.assert_array_equal(found[5], case.expected)
    for place in (0, 4, 15):
        alone = logits(case.core, [Part(others[place], case.blocks(18))])[0]
        np.testing.assert_array_equal(found[place], alone)


def check_chunks(case: Case, chunk: int) -> None:
    found = chunked(case.core, case.ids, case.blocks(17), chunk)
    np.testing.assert_array_equal(found, case.expected)


def check_decode_among_prefills(case: Case) -> None:
    """Our last tokens one by one, each in a step with a chunk of another sequence."""
    start = len(case.ids) - 4
    blocks, other_blocks = case.blocks(19), case.blocks(20)
    other = sequence(4 * 11, 99, case.vocab)
    found = [logits(case.core, [Part(case.ids[:start], blocks)])[0]]
    for place in range(4):
        parts = [
            Part(other[11 * place : 11 * (place + 1)], other_blocks, 11 * place),
            Part(case.ids[start + place :][:1], blocks, start + place),
        ]
        found.append(logits(case.core, parts)[1])
    np.testing.assert_array_equal(np.concatenate(found), case.expected)


def check_warm_prefix(case: Case) -> None:
    """Another sequence with our first block of tokens computed it, in a batch."""
    shared = case.blocks(21)
    cousin = [*case.ids[:_BLOCK], *sequence(9, 5, case.vocab)]
    stranger = sequence(13, 6, case.vocab)
    logits(
        case.core,
        [Part(stranger, case.blocks(22)), Part(cousin, [shared[0], *case.blocks(23)])],
    )
    rest = Part(case.ids[_BLOCK:], shared, _BLOCK)
    np.testing.assert_array_equal(logits(case.core, [rest])[0], case.expected[_BLOCK:])


def check_everything(path: Path, options: BuildOptions, length: int) -> None:
    single = open_case(path, options, length)
    double = open_case(path, replace(options, threads=2), length)
    np.testing.assert_array_equal(double.expected, single.expected)
    for case in (single, double):
        check_batch_of_16(case)
        check_chunks(case, 7)
        check_decode_among_prefills(case)
        check_warm_prefix(case)
    check_chunks(single, 1)


@pytest.mark.parametrize("kv", ["float16", "int8", "bfloat16", "float32"])
@pytest.mark.parametrize("weights", _GGUF_WEIGHTS)
def test_quantized_llama(weights: str, kv: str, tmp_path: Path) -> None:
    path = write_quantized_llama(tmp_path / "model.gguf", weights)
    check_everything(path, replace(_OPTIONS, kv_cache_dtype=kv), 70)


@pytest.mark.parametrize("name", ["mistral", "qwen3"])
def test_context_shared_by_threads(name: str, tmp_path: Path) -> None:
    """A few rows behind a long context: there, many threads share one head's attention."""
    path = write_model(load_row(name), tmp_path / "model")
    options = replace(_OPTIONS, max_model_len=2048)
    models = [build(path, replace(options, threads=threads)) for threads in (1, 8)]
    ids = sequence(1101, 0, models[0].config.vocab_size)
    blocks = list(range(-(-len(ids) // _BLOCK)))
    for begin, end in ((0, 200), (200, 1000), (1000, 1023), (1023, 1024), (1024, 1101)):
        part = Part(ids[begin:end], blocks, begin)
        alone, shared = (logits(model.core, [part])[0] for model in models)
        np.testing.assert_array_equal(shared, alone)


@pytest.mark.parametrize(
    "dtype",
    ["bfloat16", "fp8", "int8", "int4", "int4g", "int4g32", "int4z64", "q2_k", "mxfp4", "nvfp4"],
)
def test_conversion_at_load(dtype: str, tmp_path: Path) -> None:
    path = write_quantized_llama(tmp_path / "model.gguf", "f32")
    check_everything(path, replace(_OPTIONS, kv_cache_dtype="float16", dtype=dtype), 70)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("name", ["mistral", "gemma3", "qwen2_window", "qwen3_moe_mixed"])
def test_windows_and_experts(name: str, dtype: str, tmp_path: Path) -> None:
    path = write_model(load_row(name), tmp_path / "model")
    check_everything(path, replace(_OPTIONS, kv_cache_dtype="int8", dtype=dtype), 70)


@pytest.mark.parametrize("kv", ["float16", "int8"])
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_real_models(name: str, kv: str, model_file: Callable[[str], Path]) -> None:
    """SmolLM2 as Q4_1; Qwen2.5-Coder mixes Q4_K, Q5_0, Q6_K and Q8_0."""
    options = replace(_OPTIONS, kv_cache_dtype=kv, max_batched_tokens=256, tokens=2048)
    path = model_file(name)
    single = open_case(path, options, 40)
    double = open_case(path, replace(options, threads=2), 40)
    np.testing.assert_array_equal(double.expected, single.expected)
    check_chunks(double, 7)
    check_warm_prefix(double)
    check_decode_among_prefills(double)
