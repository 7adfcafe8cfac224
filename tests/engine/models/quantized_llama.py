"""A small llama as a GGUF file whose matrices are random blocks of any format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.checkpoints.files import GGML_TYPES, Tensor, gguf_bytes, tiny_metadata
from tests.formats.gguf_blocks import BLOCK_FORMATS, random_blocks
from tests.golden.rows import to_bfloat16

VOCAB = 90
HIDDEN = 256  # K formats have blocks of 256
INNER = 512
HEADS, KV_HEADS = 4, 2
LAYERS = 2


def _matrix(name: str, rows: int, columns: int, dtype: str, seed: int) -> Tensor:
    magnitude = 1.5 / np.sqrt(columns)
    if dtype in BLOCK_FORMATS:
        count = rows * columns // GGML_TYPES[dtype][1]
        data = random_blocks(dtype, count, seed, magnitude=magnitude, signed=False).tobytes()
    else:
        random = np.random.default_rng(seed)
        values = (random.standard_normal(rows * columns) * magnitude).astype(np.float32)
        encoded = {"f32": values, "f16": values.astype(np.float16), "bf16": to_bfloat16(values)}
        data = encoded[dtype].tobytes()
    return Tensor(name, (rows, columns), dtype, data)


def _norm(name: str, seed: int) -> Tensor:
    values = np.random.default_rng(seed).uniform(0.5, 1.5, HIDDEN).astype(np.float32)
    return Tensor(name, (HIDDEN,), "f32", values.tobytes())


def tensors(dtype: str) -> list[Tensor]:
    head_rows = HIDDEN // HEADS
    shapes = {
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (KV_HEADS * head_rows, HIDDEN),
        "attn_v": (KV_HEADS * head_rows, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_gate": (INNER, HIDDEN),
        "ffn_up": (INNER, HIDDEN),
        "ffn_down": (HIDDEN, INNER),
    }
    made = [
        _matrix("token_embd.weight", VOCAB, HIDDEN, dtype, 1),
        _matrix("output.weight", VOCAB, HIDDEN, dtype, 2),
        _norm("output_norm.weight", 3),
    ]
    for layer in range(LAYERS):
        seed = 100 * (layer + 1)
        for number, (name, (rows, columns)) in enumerate(shapes.items()):
            full = f"blk.{layer}.{name}.weight"
            made.append(_matrix(full, rows, columns, dtype, seed + number))
        made.append(_norm(f"blk.{layer}.attn_norm.weight", seed + 50))
        made.append(_norm(f"blk.{layer}.ffn_norm.weight", seed + 51))
    return made


def write_quantized_llama(path: Path, dtype: str) -> Path:
    """Every matrix in `dtype`, a GGUF weight format; returns `path`."""
    metadata = tiny_metadata(embedding_length=HIDDEN, block_count=LAYERS, feed_forward_length=INNER)
    path.write_bytes(gguf_bytes(metadata, tensors(dtype)))
    return path
