"""The trace hook: every value of a model's first layer, recomputed from the weights in NumPy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.engine.models.steps import DEFAULTS, Part, build, trace
from tests.golden.rows import load_row, write_model
from tests.golden.weights import integer, make_weights
from tests.kernels.test_attention import oracle

Float64Array = npt.NDArray[np.float64]


def rms_norm(x: Float64Array, weight: Float64Array, eps: float) -> Float64Array:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight


def rotate(x: Float64Array, theta: float) -> Float64Array:
    """(T, H, D)"""
    half = x.shape[2] // 2
    frequencies = theta ** (-np.arange(half) / half)
    angles = (np.arange(len(x))[:, None] * frequencies)[:, None, :]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [
            first * np.cos(angles) - second * np.sin(angles),
            second * np.cos(angles) + first * np.sin(angles),
        ],
        axis=2,
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_first_layer_of_llama(tmp_path: Path, threads: int) -> None:
    row = load_row("llama_gqa")
    config = row.config
    options = replace(DEFAULTS, threads=threads)
    core = build(write_model(row, tmp_path / "model"), options).core
    values = trace(core, [Part(row.prompt_ids, [2, 0])])
    w = {name: v.astype(np.float64) for name, v in make_weights(config, row.seed).items()}
    heads = integer(config, "num_attention_heads")
    kv_heads = integer(config, "num_key_value_heads")
    size = integer(config, "head_dim")
    count = len(row.prompt_ids)
    prefix = "model.layers.0"

    x = w["model.embed_tokens.weight"][list(row.prompt_ids)]
    h = rms_norm(x, w[f"{prefix}.input_layernorm.weight"], 1e-5)
    q, k, v = (h @ w[f"{prefix}.self_attn.{name}_proj.weight"].T for name in "qkv")
    rope = config["rope_parameters"]
    assert isinstance(rope, dict)
    theta = float(rope["rope_theta"])
    q_turned = rotate(q.reshape(count, heads, size), theta)
    k_turned = rotate(k.reshape(count, kv_heads, size), theta)
    group = heads // kv_heads
    mixed = np.concatenate(
        [
            oracle(
                q_turned[:, head * group : (head + 1) * group].astype(np.float32),
                k_turned[:, head],
                v.reshape(count, kv_heads, size)[:, head],
                0,
                size**-0.5,
                0,
            )
            for head in range(kv_heads)
        ],
        axis=1,
    ).reshape(count, -1)
    attended = mixed @ w[f"{prefix}.self_attn.o_proj.weight"].T
    middle = x + attended
    h2 = rms_norm(middle, w[f"{prefix}.post_attention_layernorm.weight"], 1e-5)
    gate, up = (h2 @ w[f"{prefix}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
    gated = gate / (1 + np.exp(-gate)) * up
    expected = {
        "model.embed_tokens": x,
        f"{prefix}.input_layernorm": h,
        f"{prefix}.self_attn.q_proj": q,
        f"{prefix}.self_attn.rope": q_turned.reshape(count, -1),
        f"{prefix}.self_attn.rope#2": k_turned.reshape(count, -1),
        f"{prefix}.self_attn.attention": mixed,
        f"{prefix}.self_attn.o_proj": attended,
        f"{prefix}.add": middle,
        f"{prefix}.post_attention_layernorm": h2,
        f"{prefix}.mlp.gated": gated,
        f"{prefix}.add#2": middle + gated @ w[f"{prefix}.mlp.down_proj.weight"].T,
    }
    for name, value in expected.items():
        assert np.abs(values[name] - value).max() <= 2e-5 * np.abs(value).max(), name


def test_names_are_unique_and_in_order(tmp_path: Path) -> None:
    row = load_row("qwen3_moe_mixed")
    model = build(write_model(row, tmp_path / "model"))
    values = trace(model.core, [Part(row.prompt_ids, [0, 1])])
    assert list(values) == model.graph.names
    assert len(set(model.graph.names)) == len(model.graph.names)
    assert model.graph.names[-1] == "model.embed_tokens#2"  # the tied output layer
    for name in ("self_attn.q_norm", "self_attn.k_norm", "mlp.experts", "mlp.gate"):
        assert f"model.layers.1.{name}" in values
