"""Checkpoints that cannot be served: each is the right error, which says what and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine.build import BuildOptions
from ftllm.errors import (
    CheckpointError,
    FtllmError,
    OptionError,
    UnsupportedModelError,
)
from tests.checkpoints.files import Tensor, gguf_bytes, tiny_metadata
from tests.engine.models.quantized_llama import HIDDEN, INNER, LAYERS, tensors
from tests.engine.models.steps import DEFAULTS, build
from tests.golden.rows import load_row, write_model, write_safetensors
from tests.golden.weights import Float32Array, make_weights

Weights = dict[str, Float32Array]


def write(
    folder: Path,
    row_name: str = "llama",
    *,
    config: dict[str, object] | None = None,
    change: Callable[[Weights], None] = lambda _: None,
) -> Path:
    """A golden model with `config` keys replaced (None removes one) and weights changed."""
    row = load_row(row_name)
    write_model(row, folder)
    weights = make_weights(row.config, row.seed)
    change(weights)
    write_safetensors(folder / "model.safetensors", weights)
    merged = {**row.config, **(config or {})}
    kept = {key: value for key, value in merged.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    return folder


def without(name: str) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        del weights[name]

    return change


def refused(path: Path, error: type[FtllmError], *words: str) -> None:
    with pytest.raises(error) as caught:
        build(path)
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.1.self_attn.k_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.1.input_layernorm.weight",
    ],
)
def test_a_missing_tensor_is_named(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m", change=without(name))
    refused(path, CheckpointError, name)


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    name = "model.layers.1.mlp.experts.6.up_proj.weight"
    path = write(tmp_path / "m", "qwen3_moe", change=without(name))
    refused(path, CheckpointError, name)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("model.layers.0.self_attn.q_proj.weight", (64, 63), "(64, 64)"),
        ("model.layers.0.mlp.up_proj.weight", (64, 96), "(96, 64)"),
        ("model.layers.1.post_attention_layernorm.weight", (65,), "(64,)"),
        ("model.embed_tokens.weight", (255, 64), "(256, 64)"),
        ("model.layers.0.self_attn.v_proj.weight", (64, 8, 8), "(64, 64)"),
        ("model.layers.0.self_attn.v_proj.weight", (0, 64), "(64, 64)"),
    ],
)
def test_a_wrong_shape_is_named_with_both(
    name: str, shape: tuple[int, ...], expected: str, tmp_path: Path
) -> None:
    def change(weights: Weights) -> None:
        weights[name] = np.zeros(shape, np.float32)

    path = write(tmp_path / "m", change=change)
    refused(path, CheckpointError, name, str(shape), expected)


def test_experts_of_different_shapes_are_named(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.experts.3.gate_proj.weight"

    def change(weights: Weights) -> None:
        weights[name] = np.zeros((64, 32), np.float32)

    refused(write(tmp_path / "m", "qwen3_moe", change=change), CheckpointError, name)


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"model_type": "mamba"}, UnsupportedModelError, ("'mamba'", "llama", "qwen3_moe")),
        ({"model_type": None}, CheckpointError, ("model_type is missing",)),
        ({"model_type": 3}, CheckpointError, ("model_type is 3", "string")),
        ({"hidden_size": None}, CheckpointError, ("hidden_size is missing",)),
        ({"hidden_size": "64"}, CheckpointError, ("hidden_size is '64'", "integer")),
        ({"hidden_size": 64.0}, CheckpointError, ("hidden_size is 64.0", "integer")),
        ({"hidden_size": True}, CheckpointError, ("hidden_size is True", "integer")),
        ({"hidden_size": -64}, CheckpointError, ("hidden_size is -64", "from 1 to")),
        ({"hidden_size": 1 << 40}, CheckpointError, ("hidden_size", "from 1 to")),
        ({"num_hidden_layers": 0}, CheckpointError, ("num_hidden_layers is 0", "from 1")),
        ({"num_hidden_layers": 3}, CheckpointError, ("model.layers.2.",)),
        ({"num_attention_heads": 3}, CheckpointError, ("num_attention_heads 3", "4")),
        ({"num_key_value_heads": 0}, CheckpointError, ("num_key_value_heads is 0",)),
        ({"rms_norm_eps": float("nan")}, CheckpointError, ("rms_norm_eps", "finite")),
        ({"rms_norm_eps": -1.0}, CheckpointError, ("rms_norm_eps", "-1.0")),
        ({"rms_norm_eps": 10**400}, CheckpointError, ("rms_norm_eps", "finite")),
        ({"rms_norm_eps": []}, CheckpointError, ("rms_norm_eps is []", "number")),
        ({"hidden_act": "relu6"}, UnsupportedModelError, ("hidden_act is 'relu6'", "silu")),
        ({"tie_word_embeddings": "yes"}, CheckpointError, ("tie_word_embeddings", "true or false")),
        ({"max_position_embeddings": None}, CheckpointError, ("max_position_embeddings",)),
        ({"vocab_size": 300}, CheckpointError, ("embed_tokens", "(300, 64)")),
        ({"rope_parameters": []}, CheckpointError, ("rope_parameters is []", "object")),
        (
            {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
            UnsupportedModelError,
            ("rope_type is 'spiral'", "yarn"),
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}},
            CheckpointError,
            ("factor is missing",),
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}},
            CheckpointError,
            ("factor", "0"),
        ),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 0}},
            CheckpointError,
            ("rope_theta", "0"),
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 1e-300}},
            CheckpointError,
            ("rope_parameters", "not finite"),
        ),
        (
            {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 2.0}},
            CheckpointError,
            ("low_freq_factor is missing",),
        ),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.01}},
            CheckpointError,
            ("partial_rotary_factor 0.01",),
        ),
    ],
)
def test_wrong_config_values_are_named(
    config: dict[str, object], error: type[FtllmError], words: tuple[str, ...], tmp_path: Path
) -> None:
    refused(write(tmp_path / "m", config=config), error, *words)


def test_a_head_size_that_the_kernels_lack_is_named(tmp_path: Path) -> None:
    """The message carries the scope and the line of the model file."""
    config: dict[str, object] = {"num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 8}
    path = write(tmp_path / "m", config=config)
    with pytest.raises(FtllmError, match=r"head_dim is 8.*multiple of 16") as caught:
        build(path)
    assert "model.layers.0.self_attn.attention" in str(caught.value)
    assert "blocks.py:" in str(caught.value)


@pytest.mark.parametrize("top_k", [0, 9])
def test_more_experts_per_token_than_there_are(top_k: int, tmp_path: Path) -> None:
    path = write(tmp_path / "m", "qwen3_moe", config={"num_experts_per_tok": top_k})
    with pytest.raises(FtllmError, match=f"is {top_k}"):
        build(path)


def write_gguf_llama(path: Path, *, replaced: Tensor | None = None, **keys: object) -> Path:
    """The small GGUF llama, with metadata keys changed and one tensor replaced."""
    sizes = {"embedding_length": HIDDEN, "block_count": LAYERS, "feed_forward_length": INNER}
    metadata = tiny_metadata(**{**sizes, **keys})
    parts = [replaced if replaced and t.name == replaced.name else t for t in tensors("f32")]
    path.write_bytes(gguf_bytes(metadata, parts))
    return path


def test_an_unknown_gguf_architecture_lists_the_known(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_bytes(tiny_metadata("rwkv7"), tensors("f32")))
    refused(path, UnsupportedModelError, "GGUF architecture 'rwkv7'", "gemma3", "qwen3moe")


def test_an_unsupported_number_format_is_named(tmp_path: Path) -> None:
    """ggml type 34 is TQ1_0."""
    odd = Tensor("blk.0.ffn_up.weight", (INNER, HIDDEN), 34, bytes(INNER * 54))
    path = write_gguf_llama(tmp_path / "m.gguf", replaced=odd)
    refused(path, UnsupportedModelError, "blk.0.ffn_up.weight", "q4_k")


def test_a_gguf_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    odd = Tensor("blk.1.attn_k.weight", (64, HIDDEN), "f32", bytes(64 * HIDDEN * 4))
    path = write_gguf_llama(tmp_path / "m.gguf", replaced=odd)
    refused(path, CheckpointError, "blk.1.attn_k.weight", "(64, 256)", "(128, 256)")


def test_a_missing_gguf_key_is_named(tmp_path: Path) -> None:
    path = write_gguf_llama(tmp_path / "m.gguf", attention__head_count=None)
    refused(path, CheckpointError, "llama.attention.head_count")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (replace(DEFAULTS, dtype="float64"), ("dtype is 'float64'", "bfloat16", "int4g")),
        (replace(DEFAULTS, dtype="int4g48"), ("dtype is 'int4g48'", "32, 64, 128, 256")),
        (replace(DEFAULTS, dtype="int4z256"), ("dtype is 'int4z256'", "32, 64, 128")),
        (replace(DEFAULTS, dtype="iq2_xs"), ("dtype is 'iq2_xs'", "iq4_xs")),
        (replace(DEFAULTS, dtype="int4g0"), ("dtype is 'int4g0'",)),
        (replace(DEFAULTS, kv_cache_dtype="fp8"), ("kv_cache_dtype is 'fp8'", "int8")),
        (replace(DEFAULTS, threads=0), ("threads is 0",)),
        (replace(DEFAULTS, threads=100_000), ("threads is 100000", "1024")),
        (replace(DEFAULTS, tokens=0), ("tokens is 0",)),
        (replace(DEFAULTS, max_batch=0), ("max_batch is 0",)),
        (replace(DEFAULTS, tokens=None, kv_cache_bytes=100), ("100 bytes", "one block")),
        (
            replace(DEFAULTS, tokens=None, kv_cache_bytes=1 << 50),
            ("MiB are free", "--kv_cache_limit"),
        ),
    ],
)
def test_options_that_cannot_be_honoured(
    options: BuildOptions, words: tuple[str, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "m")
    with pytest.raises(OptionError) as caught:
        build(path, options)
    for word in words:
        assert word in str(caught.value)


def test_soft_caps_that_attention_lacks_are_refused(tmp_path: Path) -> None:
    row = load_row("gemma3")
    capped = replace(row, config={**row.config, "attn_logit_softcapping": 50.0})
    refused(write_model(capped, tmp_path), UnsupportedModelError, "attn_logit_softcapping")
