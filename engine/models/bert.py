"""BERT, RoBERTa and XLM-R: encoders, whose tokens attend to their whole sequence.

Devlin et al. 2019 (arXiv:1810.04805); Liu et al. 2019 (arXiv:1907.11692); Conneau et al. 2020
(arXiv:1911.02116). Without a task's head what they give is the last hidden states; with a
classifier of one label, as rerankers have, its logit at the first token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ftllm.engine.config import ModelConfig
from ftllm.engine.graph import Graph, Value
from ftllm.errors import OptionError, UnsupportedModelError

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
GGUF_ARCHITECTURES: tuple[str, ...] = ()
GGUF_TENSORS: Mapping[str, str] = {}
CAUSAL = False

_DEFAULT_LABELS = 2  # what transformers takes where the config does not say
_ACTIVATIONS = ("gelu",)


def _first_position(c: ModelConfig) -> int:
    """The row of the position table that the first token takes: RoBERTa's rows up to that of the
    padding token are never a token's."""
    return 0 if c.model_type == "bert" else 1 + c.extra.integer("pad_token_id", least=0)


def configure(c: ModelConfig) -> ModelConfig:
    """Learned positions end where their table ends."""
    positions = c.max_position - _first_position(c)
    if positions < 1:
        raise c.extra.error(f"max_position_embeddings {c.max_position} leaves no position")
    if c.max_model_len > c.max_position:
        raise OptionError(
            f"max_model_len is {c.max_model_len}, but this model has only {positions} positions"
        )
    return replace(c, max_position=positions, max_model_len=min(c.max_model_len, positions))


def _embeddings(g: Graph, c: ModelConfig, eps: float) -> Value:
    """Word, position and the first segment's embedding, normalized."""
    name = "model.embeddings"
    first, size = _first_position(c), c.hidden_size
    positions = g.vector(f"{name}.position_embeddings.weight", (first + c.max_position) * size)
    segments = g.vector(
        f"{name}.token_type_embeddings.weight", c.extra.integer("type_vocab_size") * size
    )
    table = positions.reshape(-1, size) + segments[:size]
    x = g.embedding(f"{name}.word_embeddings", c.vocab_size, size)
    return g.layer_norm(g.positions(x, table, first=first), f"{name}.LayerNorm", eps)


def _attention(g: Graph, c: ModelConfig, x: Value, prefix: str, layer: int) -> Value:
    width = c.num_heads * c.head_dim
    q = g.linear(x, f"{prefix}.self.query", width)
    k = g.linear(x, f"{prefix}.self.key", width)
    v = g.linear(x, f"{prefix}.self.value", width)
    with g.scope(prefix):
        mixed = g.attention(
            q, k, v, layer=layer, head_dim=c.head_dim, scale=c.head_dim**-0.5, causal=False
        )
    return g.linear(mixed, f"{prefix}.output.dense", c.hidden_size)


def build(g: Graph, c: ModelConfig) -> None:
    kind = c.extra.text("position_embedding_type", default="absolute")
    if kind != "absolute":
        raise UnsupportedModelError(
            f"position_embedding_type is {kind!r}; supported is absolute alone"
        )
    if c.activation not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"hidden_act is {c.activation!r}; supported by this family are"
            f" {', '.join(_ACTIVATIONS)}"
        )
    eps = c.extra.number("layer_norm_eps", default=1e-12, above=0.0)
    x = _embeddings(g, c, eps)
    for i in range(c.num_layers):
        prefix = f"model.encoder.layer.{i}"
        with g.scope(prefix):
            mixed = _attention(g, c, x, f"{prefix}.attention", i)
            x = g.layer_norm(x + mixed, f"{prefix}.attention.output.LayerNorm", eps)
            inner = g.gelu(g.linear(x, f"{prefix}.intermediate.dense", c.intermediate_size))
            inner = g.linear(inner, f"{prefix}.output.dense", c.hidden_size)
            x = g.layer_norm(x + inner, f"{prefix}.output.LayerNorm", eps)
    if c.classifies:
        _classify(g, c, g.output(x))
    else:
        g.hidden(g.output(x))


def _classify(g: Graph, c: ModelConfig, x: Value) -> None:
    """RoBERTa's head: tanh between two layers. BERT's needs to know the second text's tokens."""
    labels = len(c.extra.mapping("id2label") or ()) or _DEFAULT_LABELS
    if c.model_type == "bert" or labels != 1:
        raise UnsupportedModelError(
            f"a {c.model_type} classifier of {labels} labels is not supported; supported are"
            " classifiers of one label with RoBERTa's head"
        )
    x = g.soft_cap(g.linear(x, "classifier.dense", c.hidden_size, role="router"), 1.0)
    g.hidden(g.linear(x, "classifier.out_proj", 1, role="router"))
