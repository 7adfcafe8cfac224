"""Qwen3-MoE (arXiv:2505.09388): Qwen3 with a mixture of experts in place of the MLP."""

from __future__ import annotations

from ftllm.engine.blocks import AttentionSpec, gated_mlp, lm_head, pre_norm_layer, rms_norm
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import MOE
from ftllm.engine.models.qwen2 import layer_windows
from ftllm.engine.rope import rope_frequencies, rope_parameters

MODEL_TYPES = ("qwen3_moe",)
GGUF_ARCHITECTURES = ("qwen3moe",)
GGUF_TENSORS = MOE


def is_sparse(c: ModelConfig, layer: int) -> bool:
    """Whether a layer has experts: every decoder_sparse_step-th, but those in mlp_only_layers."""
    dense = c.extra.sequence("mlp_only_layers") or ()
    step = c.extra.integer("decoder_sparse_step", default=1)
    return layer not in dense and (layer + 1) % step == 0


def mixture(g: Graph, c: ModelConfig, x: Value, prefix: str) -> Value:
    router = g.linear(
        x, f"{prefix}.gate", c.extra.integer("num_experts", "num_local_experts"), role="router"
    )
    with g.scope(prefix):
        return g.experts(
            x,
            router,
            f"{prefix}.experts.{{e}}",
            inner=c.extra.integer("moe_intermediate_size"),
            top_k=c.extra.integer("num_experts_per_tok"),
            # GGUF does not say; every published model of this family normalizes.
            normalize=c.extra.flag("norm_topk_prob", default=c.from_gguf),
            activation=c.activation,
        )


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
        mlp = mixture if is_sparse(c, i) else gated_mlp
        x = pre_norm_layer(
            g, c, x, prefix, spec, lambda h, m=mlp, p=prefix: m(g, c, h, f"{p}.mlp")
        )
    return lm_head(g, c, norm(g.output(x), "model.norm", c.hidden_size))
