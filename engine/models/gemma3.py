"""Gemma 3, text (arXiv:2503.19786): sliding and full layers in turn, each with its own rotary
frequencies; norms before and after attention and MLP; scaled embeddings."""

from __future__ import annotations

import math
from dataclasses import replace

from ftllm.engine.blocks import AttentionSpec, Norm, gated_mlp, lm_head, self_attention
from ftllm.engine.config import ConfigReader, ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.engine.models.gguf_names import DENSE
from ftllm.engine.rope import rope_frequencies, rope_parameters
from ftllm.errors import UnsupportedModelError

MODEL_TYPES = ("gemma3_text",)
GGUF_ARCHITECTURES = ("gemma3",)
GGUF_TENSORS = {
    **DENSE,
    "model.layers.{i}.post_attention_layernorm": "blk.{i}.post_attention_norm",
    "model.layers.{i}.pre_feedforward_layernorm": "blk.{i}.ffn_norm",
    "model.layers.{i}.post_feedforward_layernorm": "blk.{i}.post_ffw_norm",
}

_LOCAL_THETA = 10000.0  # of the sliding layers, where the config does not say
_PATTERN = 6  # every sixth layer is full


def slides(c: ModelConfig) -> tuple[bool, ...]:
    """Which layers slide."""
    sliding = c.sliding_layers()
    if sliding is not None:
        return sliding
    pattern = c.extra.integer("sliding_window_pattern", default=_PATTERN)
    return tuple((i + 1) % pattern != 0 for i in range(c.num_layers))


def _rope_tables(g: Graph, c: ModelConfig) -> tuple[int, int]:
    """(full, sliding)"""
    full = rope_parameters(c)
    if c.extra.has("rope_parameters"):
        local = rope_parameters(c, "sliding_attention")
    else:
        theta = c.extra.number("rope_local_base_freq", default=_LOCAL_THETA)
        local = ConfigReader({"rope_theta": theta}, "rope_local_base_freq")
    return (
        g.rope_table(rope_frequencies(c, full)),
        g.rope_table(rope_frequencies(c, local)),
    )


def _layer(
    g: Graph, c: ModelConfig, x: Value, prefix: str, spec: AttentionSpec, norm: Norm
) -> Value:
    with g.scope(prefix):
        h = norm(x, f"{prefix}.input_layernorm", c.hidden_size)
        h = self_attention(g, c, h, f"{prefix}.self_attn", spec)
        x = x + norm(h, f"{prefix}.post_attention_layernorm", c.hidden_size)
        h = norm(x, f"{prefix}.pre_feedforward_layernorm", c.hidden_size)
        h = gated_mlp(g, c, h, f"{prefix}.mlp")
        return x + norm(h, f"{prefix}.post_feedforward_layernorm", c.hidden_size)


def build(g: Graph, c: ModelConfig) -> Value | None:
    offset = 0.0 if c.from_gguf else 1.0  # GGUF stores 1 + weight
    if c.extra.has("attn_logit_softcapping"):
        raise UnsupportedModelError("attn_logit_softcapping is set, which is not supported")
    if c.extra.flag("use_bidirectional_attention", default=False):
        raise UnsupportedModelError("use_bidirectional_attention is set, which is not supported")
    c = replace(c, activation="gelu_tanh")  # GGUF does not say

    def norm(x: Value, name: str, size: int) -> Value:
        return g.rms_norm(x, name, size, c.rms_norm_eps, offset=offset)

    full, local = _rope_tables(g, c)
    window = c.extra.integer("sliding_window")
    scalar = c.extra.number("query_pre_attn_scalar", default=float(c.head_dim), above=0.0)
    factor = math.sqrt(c.hidden_size)
    x = g.embedding("model.embed_tokens", c.vocab_size, c.hidden_size, factor=factor)
    for i, sliding in enumerate(slides(c)):
        spec = AttentionSpec(
            layer=i,
            rope_table=local if sliding else full,
            scale=scalar**-0.5,
            window=window if sliding else 0,
            head_norm=norm,
        )
        x = _layer(g, c, x, f"model.layers.{i}", spec, norm)
    logits = lm_head(g, c, norm(g.output(x), "model.norm", c.hidden_size))
    if logits is not None and c.extra.has("final_logit_softcapping"):
        logits = g.soft_cap(logits, c.extra.number("final_logit_softcapping", above=0.0))
    return logits
