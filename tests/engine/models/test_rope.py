"""Rotary frequencies of every kind of scaling; the golden rows test them inside models too."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from ftllm.engine.config import ModelConfig, parse_config
from ftllm.engine.rope import RopeFrequencies, rope_frequencies, rope_parameters
from ftllm.errors import CheckpointError

_DIM = 32


def config(max_model_len: int | None = None, **keys: object) -> ModelConfig:
    values: dict[str, object] = {
        "model_type": "llama",
        "vocab_size": 10,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "max_position_embeddings": 64,
        **keys,
    }
    return parse_config(values, from_gguf=False, max_model_len=max_model_len)


def frequencies(rope: Mapping[str, object], max_model_len: int | None = None) -> RopeFrequencies:
    c = config(max_model_len, rope_parameters=rope)
    return rope_frequencies(c, rope_parameters(c))


def plain(theta: float, dim: int = _DIM) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([theta ** (-2 * i / dim) for i in range(dim // 2)])


def test_default() -> None:
    found = frequencies({"rope_type": "default", "rope_theta": 500.0})
    np.testing.assert_allclose(found.frequencies, plain(500.0), rtol=1e-7)
    assert found.frequencies.dtype == np.float32
    assert found.factor == 1.0


def test_a_config_without_any_rope_keys_has_the_usual_base() -> None:
    c = config()
    found = rope_frequencies(c, rope_parameters(c))
    np.testing.assert_allclose(found.frequencies, plain(10000.0), rtol=1e-7)


def test_linear_divides() -> None:
    found = frequencies({"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0})
    np.testing.assert_allclose(found.frequencies, plain(1e4) / 8, rtol=1e-7)


def test_partial_rotation() -> None:
    found = frequencies({"rope_theta": 1e4, "partial_rotary_factor": 0.5})
    np.testing.assert_allclose(found.frequencies, plain(1e4, _DIM // 2), rtol=1e-7)


@pytest.mark.parametrize(
    ("served", "stretch"), [(None, 1.0), (32, 1.0), (64, 1.0), (128, 4 * 128 / 64 - 3)]
)
def test_dynamic_depends_on_the_served_context_alone(served: int | None, stretch: float) -> None:
    found = frequencies({"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}, served)
    expected = plain(1e4 * stretch ** (_DIM / (_DIM - 2)))
    np.testing.assert_allclose(found.frequencies, expected, rtol=1e-6)


def test_llama3_keeps_fast_divides_slow_and_blends_between() -> None:
    found = frequencies(
        {
            "rope_type": "llama3",
            "rope_theta": 1e4,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    ).frequencies
    base = plain(1e4)
    wavelengths = 2 * math.pi / base
    fast, slow = wavelengths < 64 / 4, wavelengths > 64
    assert fast.any()
    assert slow.any()
    np.testing.assert_allclose(found[fast], base[fast], rtol=1e-6)
    np.testing.assert_allclose(found[slow], base[slow] / 4, rtol=1e-6)
    between = ~fast & ~slow
    assert between.any()
    smooth = (64 / wavelengths[between] - 1.0) / 3.0
    blended = (1 - smooth) * base[between] / 4 + smooth * base[between]
    np.testing.assert_allclose(found[between], blended, rtol=1e-6)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [
        ({}, 0.1 * math.log(4.0) + 1.0),
        ({"attention_factor": 0.75}, 0.75),
        (
            {"mscale": 2.0, "mscale_all_dim": 1.0},
            (0.2 * math.log(4.0) + 1.0) / (0.1 * math.log(4.0) + 1.0),
        ),
    ],
)
def test_yarn(keys: dict[str, object], factor: float) -> None:
    found = frequencies(
        {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
            "original_max_position_embeddings": 256, **keys,
        }
    )  # fmt: skip
    base = plain(1e4)
    np.testing.assert_allclose(found.frequencies[0], base[0], rtol=1e-6)
    np.testing.assert_allclose(found.frequencies[-1], base[-1] / 4, rtol=1e-6)
    ratio = found.frequencies / base
    assert (np.diff(ratio) <= 1e-6).all()
    assert found.factor == pytest.approx(factor)


def test_divisors_of_the_checkpoint_replace_scaling() -> None:
    c = config(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0})
    divisors = np.linspace(1, 4, _DIM // 2)
    found = rope_frequencies(c, rope_parameters(c), divisors=divisors)
    np.testing.assert_allclose(found.frequencies, plain(1e4) / divisors, rtol=1e-6)
    with pytest.raises(CheckpointError, match="3 rope divisors for 16"):
        rope_frequencies(c, rope_parameters(c), divisors=np.ones(3))
    with pytest.raises(CheckpointError, match="not finite"):
        rope_frequencies(c, rope_parameters(c), divisors=np.zeros(_DIM // 2))


@pytest.mark.parametrize(
    "scaling",
    [
        {"type": "linear", "factor": 4.0},
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 4.0},
    ],
)
def test_the_old_spelling_is_the_same(scaling: dict[str, object]) -> None:
    old = config(128, rope_theta=2e4, rope_scaling=scaling)
    kind = scaling.get("rope_type", scaling.get("type"))
    new = frequencies({"rope_type": kind, "rope_theta": 2e4, "factor": 4.0}, 128)
    found = rope_frequencies(old, rope_parameters(old))
    np.testing.assert_array_equal(found.frequencies, new.frequencies)


def test_layer_types_have_their_own_parameters() -> None:
    c = config(
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
        }
    )
    full = rope_frequencies(c, rope_parameters(c))
    sliding = rope_frequencies(c, rope_parameters(c, "sliding_attention"))
    np.testing.assert_allclose(full.frequencies, plain(1e6), rtol=1e-7)
    np.testing.assert_allclose(sliding.frequencies, plain(1e3), rtol=1e-7)
