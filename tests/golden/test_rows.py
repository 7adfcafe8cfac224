"""The golden data is whole, and its files hold what they claim. (Model tests compare logits.)"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from tests.golden.gguf_files import GGUF_ROWS, gguf_tensors, write_gguf
from tests.golden.rows import SEEDS, load_row, to_bfloat16, write_model
from tests.golden.weights import integer, make_weights


@pytest.mark.parametrize("name", SEEDS)
def test_a_row_is_complete_and_consistent(name: str) -> None:
    row = load_row(name)
    vocab = integer(row.config, "vocab_size")
    assert row.logits.shape == (len(row.prompt_ids), vocab)
    assert row.greedy_logits.shape == (16, vocab)
    assert row.greedy_logits.argmax(axis=1).tolist() == list(row.greedy_ids)
    np.testing.assert_allclose(row.logits[-1], row.greedy_logits[0], atol=row.max_difference)
    assert np.isfinite(row.logits).all()
    assert len(row.prompt_ids) + len(row.greedy_ids) <= row.max_model_len


@pytest.mark.parametrize("name", SEEDS)
def test_no_argmax_is_a_near_tie(name: str) -> None:
    row = load_row(name)
    top = np.sort(np.concatenate([row.logits, row.greedy_logits]), axis=1)
    assert (top[:, -1] - top[:, -2]).min() > 2 * row.max_difference


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["llama_bias", "gemma3", "qwen3_moe"])
def test_safetensors_files_hold_the_weights_exactly(name: str, dtype: str, tmp_path: Path) -> None:
    row = load_row(name)
    folder = write_model(row, tmp_path / "model", dtype)
    weights = make_weights(row.config, row.seed)
    label = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    with safe_open(folder / "model.safetensors", framework="np") as file:
        assert set(file.keys()) == set(weights)
        for key, value in weights.items():
            assert file.get_slice(key).get_dtype() == label
            assert tuple(file.get_slice(key).get_shape()) == value.shape
            if dtype != "bfloat16":  # NumPy has no bfloat16
                np.testing.assert_array_equal(file.get_tensor(key).astype(np.float32), value)


def test_bfloat16_rounds_to_nearest_even_and_weights_need_no_rounding() -> None:
    values = np.array([1.0, 1.0 + 2**-8, 1.0 + 3 * 2**-8, -2.5], np.float32)
    assert to_bfloat16(values).tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC020]
    row = load_row("gemma3")
    for value in make_weights(row.config, row.seed).values():
        widened = (to_bfloat16(value).astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(widened, value)


@pytest.mark.parametrize("name", GGUF_ROWS)
def test_gguf_files_carry_every_weight(name: str, tmp_path: Path) -> None:
    row = load_row(name)
    path = write_gguf(row, tmp_path / "model.gguf")
    tensors = gguf_tensors(row)
    magic, version, count, _ = struct.unpack("<4sIQQ", path.read_bytes()[:24])
    assert (magic, version, count) == (b"GGUF", 3, len(tensors))
    factors = tensors.pop("rope_freqs.weight", np.zeros(0, np.float32))
    weights = make_weights(row.config, row.seed)
    assert sum(value.size for value in tensors.values()) == sum(v.size for v in weights.values())
    assert path.stat().st_size > 4 * (sum(v.size for v in weights.values()) + factors.size)
