"""Qwen2 and Qwen2.5 (arXiv:2407.10671, 2412.15115): biases on q, k and v."""

from __future__ import annotations

from ftllm.engine.blocks import AttentionSpec, pre_norm_decoder
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import DENSE
from ftllm.engine.rope import rope_frequencies, rope_parameters

MODEL_TYPES = ("qwen2",)
GGUF_ARCHITECTURES = ("qwen2",)
GGUF_TENSORS = DENSE


def layer_windows(c: ModelConfig) -> tuple[int, ...]:
    """Each layer's window. Layers from max_window_layers on slide, if any do."""
    window = c.extra.integer("sliding_window", default=0, least=0)
    if not c.extra.flag("use_sliding_window", default=False):
        return (0,) * c.num_layers
    sliding = c.sliding_layers()
    if sliding is not None:
        return tuple(window if slides else 0 for slides in sliding)
    first = c.extra.integer("max_window_layers", default=c.num_layers, least=0)
    return tuple(window if i >= first else 0 for i in range(c.num_layers))


def build(g: Graph, c: ModelConfig) -> Value | None:
    table = g.rope_table(rope_frequencies(c, rope_parameters(c)))
    windows = layer_windows(c)

    def spec(layer: int) -> AttentionSpec:
        return AttentionSpec(
            layer=layer, rope_table=table, scale=c.head_dim**-0.5, window=windows[layer]
        )

    return pre_norm_decoder(g, c, spec)
