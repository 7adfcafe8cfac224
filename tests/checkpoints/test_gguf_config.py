"""GGUF metadata as a Hugging Face config."""

from __future__ import annotations

import math
import struct

import pytest

from ftllm.engine.checkpoints.gguf_config import config_from_metadata, generation_from_metadata
from ftllm.errors import CheckpointError, UnsupportedModelError
from tests.checkpoints.files import tiny_metadata


def config(metadata: dict[str, object], *, tied: bool = False) -> dict[str, object]:
    return config_from_metadata(metadata, tie_word_embeddings=tied, where="tiny.gguf")


def test_the_least_that_a_model_must_say() -> None:
    assert config(tiny_metadata(attention__head_count_kv=None), tied=True) == {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "vocab_size": 90,
        "max_position_embeddings": 128,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def test_everything_else_that_it_may_say() -> None:
    read = config(
        tiny_metadata(
            "qwen3moe",
            vocab_size=99,
            attention__key_length=32,
            attention__sliding_window=512,
            rope__freq_base=1e6,
            rope__freq_base_swa=10000.0,
            rope__dimension_count=32,
            expert_count=8,
            expert_used_count=2,
            expert_feed_forward_length=48,
            attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0,
        )
    )
    assert read["model_type"] == "qwen3moe"
    expected = {
        "vocab_size": 99,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "sliding_window": 512,
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "rope_dim": 32,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "tie_word_embeddings": False,
    }
    assert {key: read[key] for key in expected} == expected


def test_zero_experts_or_window_means_none() -> None:
    read = config(tiny_metadata(expert_count=0, expert_used_count=0, attention__sliding_window=0))
    assert read.keys().isdisjoint({"num_experts", "num_experts_per_tok", "sliding_window"})


def test_a_mixture_may_leave_out_the_dense_width() -> None:
    read = config(tiny_metadata(feed_forward_length=None, expert_feed_forward_length=48))
    assert "intermediate_size" not in read
    assert read["moe_intermediate_size"] == 48


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"rope.scaling.type": "none", "rope.scaling.factor": 4.0}, None),
        ({"rope.scaling.factor": 1.0}, None),
        ({"rope.scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        ({"rope.scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}),
        (
            {
                "rope.scaling.type": "yarn",
                "rope.scaling.factor": 4.0,
                "rope.scaling.original_context_length": 32,
                "rope.scaling.yarn_beta_fast": 30.0,
                "rope.scaling.yarn_beta_slow": 2.0,
                "rope.scaling.attn_factor": 0.5,
            },
            {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 32,
                "attention_factor": 0.5 * (0.1 * math.log(4.0) + 1.0),
                "beta_fast": 30.0,
                "beta_slow": 2.0,
            },
        ),
        ({"rope.scaling.type": "longrope"}, {"rope_type": "longrope"}),
    ],
)
def test_rope_scaling(keys: dict[str, object], expected: dict[str, object] | None) -> None:
    metadata = tiny_metadata() | {f"llama.{key}": value for key, value in keys.items()}
    assert config(metadata)["rope_scaling"] == expected


def test_yarn_needs_its_factor() -> None:
    with pytest.raises(CheckpointError, match=r"yarn.*rope\.scaling\.factor"):
        config(tiny_metadata(rope__scaling__type="yarn"))


@pytest.mark.parametrize(
    "key",
    [
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.layer_norm_rms_epsilon",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    metadata = tiny_metadata()
    del metadata[f"llama.{key}"]
    with pytest.raises(CheckpointError, match=rf"tiny\.gguf: .*llama\.{key} is missing"):
        config(metadata)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("general.architecture", None, "general.architecture is None"),
        ("general.architecture", 7, "general.architecture is 7"),
        ("llama.block_count", "two", "'two'; an integer"),
        ("llama.block_count", True, "True; an integer"),
        ("llama.block_count", 0, "it must be from 1"),
        ("llama.embedding_length", 2**40, "to 2147483647"),
        ("llama.embedding_length", 66, "66 is not a multiple of 4 heads"),
        ("llama.rope.freq_base", math.nan, "a positive number"),
        ("llama.rope.freq_base", math.inf, "a positive number"),
        ("llama.attention.layer_norm_rms_epsilon", "small", "a number"),
        ("llama.rope.scaling.type", 3, "a string"),
        ("tokenizer.ggml.eos_token_id", -1, "it must be from 0"),
        ("tokenizer.ggml.tokens", [], "llama.vocab_size"),
    ],
)
def test_an_odd_value_is_named(key: str, value: object, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        config({**tiny_metadata(), key: value})
    assert message in str(caught.value)


def test_values_per_layer() -> None:
    assert config(tiny_metadata(attention__head_count_kv=[2, 2]))["num_key_value_heads"] == 2
    with pytest.raises(UnsupportedModelError, match=r"llama\.attention\.head_count_kv differs"):
        config(tiny_metadata(attention__head_count_kv=[2, 4]))


def test_generation_defaults() -> None:
    assert generation_from_metadata({}) == {}
    temperature = struct.unpack("<f", struct.pack("<f", 0.6))[0]
    read = generation_from_metadata(
        {
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.eot_token_id": 5,
            "tokenizer.ggml.eom_token_id": 2,
            "general.sampling.temp": temperature,
            "general.sampling.top_k": 20,
            "general.sampling.top_p": math.nan,
        }
    )
    assert read == {"eos_token_id": [2, 5], "temperature": temperature, "top_k": 20}
