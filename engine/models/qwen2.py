"""Qwen2 and Qwen2.5 (arXiv:2407.10671, 2412.15115): biases on q, k and v."""

from __future__ import annotations

from ftllm.engine.blocks import AttentionSpec, gated_mlp, lm_head, pre_norm_layer, rms_norm
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
    types = c.extra.sequence("layer_types")
    if types is not None:
        return tuple(window if kind == "sliding_attention" else 0 for kind in types)
    first = c.extra.integer("max_window_layers", default=c.num_layers, least=0)
    return tuple(window if i >= first else 0 for i in range(c.num_layers))


def build(g: Graph, c: ModelConfig) -> Value:
    table = g.rope_table(rope_frequencies(c, rope_parameters(c)))
    windows = layer_windows(c)
    x = g.embedding("model.embed_tokens", c.vocab_size, c.hidden_size)
    for i in range(c.num_layers):
        prefix = f"model.layers.{i}"
        spec = AttentionSpec(
            layer=i, rope_table=table, scale=c.head_dim**-0.5, window=windows[i]
        )
        x = pre_norm_layer(g, c, x, prefix, spec, lambda h, p=prefix: gated_mlp(g, c, h, f"{p}.mlp"))
    x = rms_norm(g, c)(g.output(x), "model.norm", c.hidden_size)
    return lm_head(g, c, x)
