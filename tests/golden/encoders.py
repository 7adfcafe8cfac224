"""Tiny encoders of the golden rows: their configs and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = dict[str, Any]
Shapes = dict[str, tuple[int, ...]]

_BASE: Config = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "hidden_act": "gelu",
    "dtype": "float32",
}

_XLM_ROBERTA: Config = {
    **_BASE,
    "model_type": "xlm-roberta",
    "max_position_embeddings": 130,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}

ENCODERS: dict[str, Config] = {
    "bert": {
        **_BASE,
        "model_type": "bert",
        "architectures": ["BertModel"],
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    },
    "xlm_roberta": {**_XLM_ROBERTA, "architectures": ["XLMRobertaModel"]},
    "xlm_roberta_classifier": {
        **_XLM_ROBERTA,
        "architectures": ["XLMRobertaForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    },
}


def classifies(config: Mapping[str, Any]) -> bool:
    return "Classification" in config["architectures"][0]


def encoder_shapes(config: Mapping[str, Any]) -> Shapes:
    """Name to shape (rows N, columns K) of every tensor but the unused pooler's."""
    if not classifies(config):
        return _bare_shapes(config)
    hidden = config["hidden_size"]
    return {
        **{f"roberta.{name}": shape for name, shape in _bare_shapes(config).items()},
        **_linear("classifier.dense", hidden, hidden),
        **_linear("classifier.out_proj", 1, hidden),
    }


def _bare_shapes(config: Mapping[str, Any]) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        **_norm("embeddings.LayerNorm", hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        prefix = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _linear(f"{prefix}.attention.{name}", hidden, hidden)
        shapes |= _norm(f"{prefix}.attention.output.LayerNorm", hidden)
        shapes |= _linear(f"{prefix}.intermediate.dense", inner, hidden)
        shapes |= _linear(f"{prefix}.output.dense", hidden, inner)
        shapes |= _norm(f"{prefix}.output.LayerNorm", hidden)
    return shapes


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> Shapes:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}
