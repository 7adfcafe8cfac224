"""Llama 2 and 3, SmolLM2, Mistral and others of their shape.

Touvron et al. 2023 (arXiv:2302.13971, 2307.09288); Jiang et al. 2023 (arXiv:2310.06825).
"""

from __future__ import annotations

import numpy as np

from ftllm.engine.blocks import AttentionSpec, pre_norm_decoder
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import DENSE
from ftllm.engine.rope import rope_frequencies, rope_parameters
from ftllm.engine.weights import RowOrder

MODEL_TYPES = ("llama", "mistral")
GGUF_ARCHITECTURES = ("llama",)
GGUF_TENSORS = {**DENSE, "rope_freqs": "rope_freqs"}


def gguf_row_order(c: ModelConfig, name: str) -> RowOrder | None:
    """GGUF stores q and k for rotation of neighbours: rows (2i, 2i + 1) of a head are the pair
    that elsewhere is (i, i + half). Brings them back to halves."""
    heads = {"q_proj": c.num_heads, "k_proj": c.num_kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return None
    rows = np.arange(heads * c.head_dim, dtype=np.int64).reshape(heads, c.head_dim // 2, 2)
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(-1)


def build(g: Graph, c: ModelConfig) -> Value | None:
    divisors = None
    if c.from_gguf and g.weights.has("rope_freqs.weight"):
        divisors = g.vector("rope_freqs.weight", c.head_dim // 2).astype(np.float64)
    table = g.rope_table(rope_frequencies(c, rope_parameters(c), divisors=divisors))
    window = c.extra.integer("sliding_window", default=0, least=0)

    def spec(layer: int) -> AttentionSpec:
        return AttentionSpec(layer=layer, rope_table=table, scale=c.head_dim**-0.5, window=window)

    return pre_norm_decoder(g, c, spec)
