"""Qwen3, dense (arXiv:2505.09388): each head of q and k is normalized."""

from __future__ import annotations

from ftllm.engine.blocks import AttentionSpec, gated_mlp, lm_head, pre_norm_layer, rms_norm
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import DENSE
from ftllm.engine.models.qwen2 import layer_windows
from ftllm.engine.rope import rope_frequencies, rope_parameters

MODEL_TYPES = ("qwen3",)
GGUF_ARCHITECTURES = ("qwen3",)
GGUF_TENSORS = DENSE


def build(g: Graph, c: ModelConfig) -> Value:
    table = g.rope_table(rope_frequencies(c, rope_parameters(c)))
    windows = layer_windows(c)
    norm = rms_norm(g, c)
    x = g.embedding("model.embed_tokens", c.vocab_size, c.hidden_size)
    for i in range(c.num_layers):
        prefix = f"model.layers.{i}"
        spec = AttentionSpec(
            layer=i,
            rope_table=table,
            scale=c.head_dim**-0.5,
            window=windows[i],
            head_norm=norm,
        )
        x = pre_norm_layer(g, c, x, prefix, spec, lambda h, p=prefix: gated_mlp(g, c, h, f"{p}.mlp"))
    return lm_head(g, c, norm(g.output(x), "model.norm", c.hidden_size))
