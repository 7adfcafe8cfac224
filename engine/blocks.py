"""Parts that many families share: functions on values, composed by the model files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value

Norm = Callable[[Value, str, int], Value]
"""norm(x, weight name, values normalized together)"""

Mlp = Callable[[Graph, ModelConfig, Value, str], Value]
"""mlp(g, c, x, prefix)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSpec:
    """One layer's attention beyond the sizes of its config."""

    layer: int
    rope_table: int
    scale: float
    window: int = 0  # 0 = unlimited
    head_norm: Norm | None = None  # normalizes each head of q and k


def rms_norm(g: Graph, c: ModelConfig) -> Norm:
    """RMS normalization with the weights as stored."""
    return lambda x, name, size: g.rms_norm(x, name, size, c.rms_norm_eps)


def self_attention(g: Graph, c: ModelConfig, x: Value, prefix: str, spec: AttentionSpec) -> Value:
    """Grouped-query attention with rotary positions: q, k, v, o projections under `prefix`."""
    kv_role = "shared_kv" if c.num_kv_heads < c.num_heads else "linear"
    q = g.linear(x, f"{prefix}.q_proj", c.num_heads * c.head_dim)
    k = g.linear(x, f"{prefix}.k_proj", c.num_kv_heads * c.head_dim, role=kv_role)
    v = g.linear(x, f"{prefix}.v_proj", c.num_kv_heads * c.head_dim, role=kv_role)
    if spec.head_norm is not None:
        q = spec.head_norm(q, f"{prefix}.q_norm", c.head_dim)
        k = spec.head_norm(k, f"{prefix}.k_norm", c.head_dim)
    with g.scope(prefix):
        mixed = g.attention(
            g.rope(q, spec.rope_table, c.head_dim),
            g.rope(k, spec.rope_table, c.head_dim),
            v,
            layer=spec.layer,
            head_dim=c.head_dim,
            scale=spec.scale,
            window=spec.window,
        )
    return g.linear(mixed, f"{prefix}.o_proj", c.hidden_size)


def gated_mlp(g: Graph, c: ModelConfig, x: Value, prefix: str) -> Value:
    """down(activation(gate(x)) · up(x))"""
    gate = g.linear(x, f"{prefix}.gate_proj", c.intermediate_size)
    up = g.linear(x, f"{prefix}.up_proj", c.intermediate_size)
    with g.scope(prefix):
        hidden = g.gated(gate, up, c.activation)
    return g.linear(hidden, f"{prefix}.down_proj", c.hidden_size)


def pre_norm_layer(
    g: Graph, c: ModelConfig, x: Value, prefix: str, spec: AttentionSpec, mlp: Mlp
) -> Value:
    """x + attention(norm(x)), then x + mlp(norm(x))"""
    norm = rms_norm(g, c)
    with g.scope(prefix):
        h = norm(x, f"{prefix}.input_layernorm", c.hidden_size)
        x = x + self_attention(g, c, h, f"{prefix}.self_attn", spec)
        h = norm(x, f"{prefix}.post_attention_layernorm", c.hidden_size)
        return x + mlp(g, c, h, f"{prefix}.mlp")


def pre_norm_decoder(
    g: Graph,
    c: ModelConfig,
    spec_of: Callable[[int], AttentionSpec],
    mlp_of: Callable[[int], Mlp] = lambda _: gated_mlp,
) -> Value | None:
    """Logits of a stack of `pre_norm_layer`s; layer i is made of `spec_of(i)` and `mlp_of(i)`."""
    x = g.embedding("model.embed_tokens", c.vocab_size, c.hidden_size)
    for i in range(c.num_layers):
        x = pre_norm_layer(g, c, x, f"model.layers.{i}", spec_of(i), mlp_of(i))
    return lm_head(g, c, rms_norm(g, c)(g.output(x), "model.norm", c.hidden_size))


def lm_head(g: Graph, c: ModelConfig, x: Value) -> Value | None:
    """Logits (R, vocabulary) of the final hidden state `x`, from the embedding table when tied.

    None when the checkpoint has no output layer: the table is said not to be tied, and there is no
    other, as in some embedding models.
    """
    g.hidden(x)
    stored = g.weights.has("lm_head.weight")
    if not stored and c.extra.has("tie_word_embeddings") and not c.tie_word_embeddings:
        return None
    name = "lm_head" if stored and not c.tie_word_embeddings else "model.embed_tokens"
    return g.linear(x, name, c.vocab_size, role="embedding")
