"""Qwen3, dense (arXiv:2505.09388): each head of q and k is normalized."""

from __future__ import annotations

from collections.abc import Callable

from ftllm.engine.blocks import AttentionSpec, pre_norm_decoder, rms_norm
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import DENSE
from ftllm.engine.models.qwen2 import layer_windows
from ftllm.engine.rope import rope_frequencies, rope_parameters

MODEL_TYPES = ("qwen3",)
GGUF_ARCHITECTURES = ("qwen3",)
GGUF_TENSORS = DENSE


def attention_specs(g: Graph, c: ModelConfig) -> Callable[[int], AttentionSpec]:
    """What each layer's attention is made of."""
    table = g.rope_table(rope_frequencies(c, rope_parameters(c)))
    windows = layer_windows(c)
    return lambda layer: AttentionSpec(
        layer=layer,
        rope_table=table,
        scale=c.head_dim**-0.5,
        window=windows[layer],
        head_norm=rms_norm(g, c),
    )


def build(g: Graph, c: ModelConfig) -> Value | None:
    return pre_norm_decoder(g, c, attention_specs(g, c))
