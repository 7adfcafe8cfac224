"""Weights of the golden models, a pure function of (config, seed): no file holds them.

Every value is an integer k in [-127, 127] times a power of two, taken from the raw PCG64 stream
(which NumPy keeps stable across versions). So the float32, bfloat16 and float16 files of one row
hold exactly the same numbers, and no rounding depends on a platform.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tests.golden.encoders import encoder_shapes

Config = Mapping[str, object]
Float32Array = npt.NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]


def make_weights(config: Config, seed: int) -> dict[str, Float32Array]:
    """All tensors of a checkpoint in Hugging Face's names and shapes, in sorted order."""
    return {
        name: _tensor(seed, name, shape, is_gemma=is_gemma(config))
        for name, shape in sorted(tensor_shapes(config).items())
    }


def fingerprint(weights: Mapping[str, Float32Array]) -> int:
    """CRC-32 over names and values, kept beside the golden logits."""
    crc = 0
    for name, value in sorted(weights.items()):
        crc = zlib.crc32(value.astype("<f4").tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def is_gemma(config: Config) -> bool:
    """Gemma scales by (1 + w) in its norms, so its norm weights lie around 0."""
    return str(config["model_type"]).startswith("gemma")


def integer(config: Config, *names: str, default: int | None = None) -> int:
    """The first of `names` that the config sets."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int):
            return value
    if default is None:
        raise KeyError(f"the config sets none of {names}")
    return default


def head_dim(config: Config) -> int:
    heads = integer(config, "num_attention_heads")
    return integer(config, "head_dim", default=integer(config, "hidden_size") // heads)


def is_sparse_layer(config: Config, layer: int) -> bool:
    """Whether layer `layer` is a mixture of experts (Qwen3-MoE's rule)."""
    if integer(config, "num_experts", "num_local_experts", default=0) == 0:
        return False
    dense = config.get("mlp_only_layers") or []
    assert isinstance(dense, list)
    return layer not in dense and (layer + 1) % integer(config, "decoder_sparse_step") == 0


def tensor_shapes(config: Config) -> Shapes:
    """Name to shape (rows N, columns K) of every tensor of the checkpoint."""
    if not config.get("num_key_value_heads"):
        return encoder_shapes(config)
    hidden = integer(config, "hidden_size")
    vocab = integer(config, "vocab_size")
    shapes: Shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, hidden)
    for layer in range(integer(config, "num_hidden_layers")):
        prefix = f"model.layers.{layer}."
        parts = _attention(config) | _norms(config)
        parts |= _experts(config) if is_sparse_layer(config, layer) else _dense(config)
        shapes |= {prefix + name: shape for name, shape in parts.items()}
    return shapes


def _attention(config: Config) -> Shapes:
    hidden, size = integer(config, "hidden_size"), head_dim(config)
    q_rows = integer(config, "num_attention_heads") * size
    kv_rows = integer(config, "num_key_value_heads") * size
    family = config["model_type"]
    shapes: Shapes = {
        "self_attn.q_proj.weight": (q_rows, hidden),
        "self_attn.k_proj.weight": (kv_rows, hidden),
        "self_attn.v_proj.weight": (kv_rows, hidden),
        "self_attn.o_proj.weight": (hidden, q_rows),
    }
    if family == "qwen2" or config.get("attention_bias"):
        rows = {"q_proj": q_rows, "k_proj": kv_rows, "v_proj": kv_rows}
        shapes |= {f"self_attn.{name}.bias": (count,) for name, count in rows.items()}
    if config.get("attention_bias"):
        shapes["self_attn.o_proj.bias"] = (hidden,)
    if family in ("qwen3", "qwen3_moe", "gemma3_text"):
        shapes |= {"self_attn.q_norm.weight": (size,), "self_attn.k_norm.weight": (size,)}
    return shapes


def _norms(config: Config) -> Shapes:
    names = ["input_layernorm", "post_attention_layernorm"]
    if is_gemma(config):
        names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    return {f"{name}.weight": (integer(config, "hidden_size"),) for name in names}


def _dense(config: Config) -> Shapes:
    hidden, inner = integer(config, "hidden_size"), integer(config, "intermediate_size")
    shapes: Shapes = {
        "mlp.gate_proj.weight": (inner, hidden),
        "mlp.up_proj.weight": (inner, hidden),
        "mlp.down_proj.weight": (hidden, inner),
    }
    if config.get("mlp_bias"):
        shapes |= {f"mlp.{name}.bias": (inner,) for name in ("gate_proj", "up_proj")}
        shapes["mlp.down_proj.bias"] = (hidden,)
    return shapes


def _experts(config: Config) -> Shapes:
    hidden, inner = integer(config, "hidden_size"), integer(config, "moe_intermediate_size")
    experts = integer(config, "num_experts", "num_local_experts")
    shapes: Shapes = {"mlp.gate.weight": (experts, hidden)}
    for expert in range(experts):
        prefix = f"mlp.experts.{expert}."
        shapes[prefix + "gate_proj.weight"] = (inner, hidden)
        shapes[prefix + "up_proj.weight"] = (inner, hidden)
        shapes[prefix + "down_proj.weight"] = (hidden, inner)
    return shapes


def _tensor(seed: int, name: str, shape: tuple[int, ...], *, is_gemma: bool) -> Float32Array:
    raw = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(int(np.prod(shape)))
    k = ((raw >> np.uint64(32)) % np.uint64(255)).astype(np.int64) - 127
    if name.lower().endswith("norm.weight"):  # multiples of 2^-7 within 1 ± 0.25: exact in bfloat16
        values = (k // 4) / 128 + (0.0 if is_gemma else 1.0)
    else:
        values = k * 2.0 ** _exponent(name, is_gemma=is_gemma)
    return np.asarray(values, np.float32).reshape(shape)


def _exponent(name: str, *, is_gemma: bool) -> int:
    """Power of two of one step; a uniform k has a standard deviation of 74 steps."""
    if "embed_tokens" in name:
        # Small beside what the layers add, so that tied models do more than echo their input.
        return -12 if is_gemma else -9  # Gemma multiplies embeddings by sqrt(hidden_size)
    if name.endswith("mlp.gate.weight") or "lm_head" in name:
        return -8
    return -9  # 0.14: keeps activations of 64 to 128 inputs near unit size
