"""Golden rows as GGUF files, with the tensor names and layouts that llama.cpp's converter writes.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.golden.rows import GoldenRow
from tests.golden.weights import (
    Config,
    Float32Array,
    head_dim,
    integer,
    is_gemma,
    make_weights,
)

GGUF_ROWS: Mapping[str, str] = {  # row to general.architecture: rows that GGUF can express
    "llama": "llama",
    "llama_gqa": "llama",
    "llama_bias": "llama",
    "llama_linear": "llama",
    "llama_llama3": "llama",
    "llama_yarn": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_pattern": "gemma3",
    "qwen3_moe": "qwen3moe",
}

_ALIGNMENT = 32  # bytes, the format's default
_UINT32, _FLOAT32, _STRING, _ARRAY, _INT32 = 4, 6, 8, 9, 5

_TENSORS: Mapping[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_GEMMA_TENSORS: Mapping[str, str] = {
    **_TENSORS,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_TOP_TENSORS: Mapping[str, str] = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(row: GoldenRow, path: Path) -> Path:
    """Write the row's weights as one F32 GGUF file (`row.name` in `GGUF_ROWS`); returns `path`."""
    metadata = {**gguf_metadata(row), **_tokenizer(row.config)}
    path.write_bytes(_file(metadata, gguf_tensors(row)))
    return path


def gguf_tensors(row: GoldenRow) -> dict[str, Float32Array]:
    """GGUF name to values; shapes are row-major (N, K), as in PyTorch."""
    weights = make_weights(row.config, row.seed)
    tensors: dict[str, Float32Array] = {}
    experts: dict[str, list[Float32Array]] = {}
    for name, value in weights.items():
        if name in _TOP_TENSORS:
            target = _TOP_TENSORS[name]
        else:
            _, _, layer, rest = name.split(".", 3)
            stem, kind = rest.rsplit(".", 1)
            if stem.startswith("mlp.experts."):  # sorted by name, so by expert: fewer than 10
                piece = _TENSORS["mlp." + stem.rsplit(".", 1)[1]]
                experts.setdefault(f"blk.{layer}.{piece}_exps.weight", []).append(value)
                continue
            names = _GEMMA_TENSORS if is_gemma(row.config) else _TENSORS
            target = f"blk.{layer}.{names[stem]}.{kind}"
        tensors[target] = _converted(name, value, row.config)
    tensors |= {name: np.stack(values) for name, values in experts.items()}
    if (factors := _rope_factors(row.config)) is not None:
        tensors["rope_freqs.weight"] = factors
    return tensors


def gguf_metadata(row: GoldenRow) -> dict[str, object]:
    """The general and architecture keys; ints are written as u32, floats as f32."""
    config, arch = row.config, GGUF_ROWS[row.name]
    rope = config["rope_parameters"]
    assert isinstance(rope, dict)
    rope = rope.get("full_attention", rope)
    keys: dict[str, object] = {
        "context_length": integer(config, "max_position_embeddings"),
        "embedding_length": integer(config, "hidden_size"),
        "block_count": integer(config, "num_hidden_layers"),
        "feed_forward_length": integer(config, "intermediate_size"),
        "attention.head_count": integer(config, "num_attention_heads"),
        "attention.head_count_kv": integer(config, "num_key_value_heads"),
        "attention.key_length": head_dim(config),
        "attention.value_length": head_dim(config),
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": rope["rope_theta"],
        "vocab_size": integer(config, "vocab_size"),
    }
    if arch == "llama":
        keys["rope.dimension_count"] = head_dim(config)
    if rope["rope_type"] in ("linear", "yarn"):
        keys["rope.scaling.type"] = rope["rope_type"]
        keys["rope.scaling.factor"] = rope["factor"]
    if rope["rope_type"] == "yarn":
        keys["rope.scaling.original_context_length"] = rope["original_max_position_embeddings"]
    if arch == "gemma3":
        keys["attention.sliding_window"] = integer(config, "sliding_window")
    if arch == "qwen3moe":
        keys["expert_count"] = integer(config, "num_experts", "num_local_experts")
        keys["expert_used_count"] = integer(config, "num_experts_per_tok")
        keys["expert_feed_forward_length"] = integer(config, "moe_intermediate_size")
    general: dict[str, object] = {
        "general.architecture": arch,
        "general.name": row.name,
        "general.file_type": 0,  # all F32
    }
    return general | {f"{arch}.{key}": value for key, value in keys.items()}


def _converted(name: str, value: Float32Array, config: Config) -> Float32Array:
    if is_gemma(config) and name.endswith("norm.weight"):
        return (value + 1).astype(np.float32)
    if config["model_type"] == "llama" and (".q_proj." in name or ".k_proj." in name):
        heads = "num_attention_heads" if ".q_proj." in name else "num_key_value_heads"
        return _interleaved(value, integer(config, heads))
    return value


def _interleaved(rows: Float32Array, heads: int) -> Float32Array:
    """Rotary pairs side by side: rows (i, i + D/2) of a head become rows (2i, 2i + 1)."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape), np.float32)


def _rope_factors(config: Config) -> Float32Array | None:
    """llama3 scaling as divisors of each frequency, (D/2,); None for other kinds of RoPE."""
    rope = config["rope_parameters"]
    assert isinstance(rope, dict)
    if rope.get("rope_type") != "llama3":
        return None
    size, context = head_dim(config), rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    divisors = []
    for index in range(0, size, 2):
        turns = context / (2 * math.pi * rope["rope_theta"] ** (index / size))  # over the context
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1 / (smooth + (1 - smooth) / rope["factor"]))
    return np.array(divisors, np.float32)


def _tokenizer(config: Config) -> dict[str, object]:
    """A byte-level BPE without merges: one token a byte, in GPT-2's printable alphabet."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in letters]
    letters |= {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [letters[byte] for byte in range(256)],
        "tokenizer.ggml.token_type": [1] * 256,  # normal
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": integer(config, "bos_token_id"),
        "tokenizer.ggml.eos_token_id": integer(config, "eos_token_id"),
    }


def _file(metadata: Mapping[str, object], tensors: Mapping[str, Float32Array]) -> bytes:
    head = [b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    head += [_text(key) + _value(value) for key, value in metadata.items()]
    blobs: list[bytes] = []
    offset = 0
    for name, value in tensors.items():
        shape = value.shape[::-1]  # innermost first
        head.append(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        head.append(struct.pack("<IQ", 0, offset))  # type 0: F32
        blobs.append(_padded(value.astype("<f4").tobytes()))
        offset += len(blobs[-1])
    return _padded(b"".join(head)) + b"".join(blobs)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    assert isinstance(value, list)
    return struct.pack("<I", _ARRAY) + _array(value)


def _array(values: Sequence[object]) -> bytes:
    if values and isinstance(values[0], int):
        return struct.pack("<IQ", _INT32, len(values)) + np.array(values, "<i4").tobytes()
    return struct.pack("<IQ", _STRING, len(values)) + b"".join(_text(str(v)) for v in values)
