"""Qwen3-MoE (arXiv:2505.09388): Qwen3 with a mixture of experts in place of the MLP."""

from __future__ import annotations

from ftllm.engine.blocks import gated_mlp, pre_norm_decoder
from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import MOE
from ftllm.engine.models.qwen3 import attention_specs

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


def build(g: Graph, c: ModelConfig) -> Value | None:
    return pre_norm_decoder(
        g, c, attention_specs(g, c), lambda layer: mixture if is_sparse(c, layer) else gated_mlp
    )
