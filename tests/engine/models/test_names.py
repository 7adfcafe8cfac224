from __future__ import annotations

import pytest

from ftllm.engine.models import families
from ftllm.engine.names import TensorNames, model_prefix

_PATTERNS = {
    "model.embed_tokens": "token_embd",
    "model.layers.{i}.mlp.up_proj": "blk.{i}.ffn_up",
    "model.layers.{i}.mlp.experts.up_proj": "blk.{i}.ffn_up_exps",
}


@pytest.mark.parametrize(
    ("canonical", "expected"),
    [
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight"),
        ("model.layers.17.mlp.up_proj.bias", "blk.17.ffn_up.bias"),
        ("model.layers.3.mlp.experts.up_proj.weight", "blk.3.ffn_up_exps.weight"),
        ("model.layers.3.mlp.other.weight", "model.layers.3.mlp.other.weight"),
        ("lm_head.weight", "lm_head.weight"),
    ],
)  # fmt: skip
def test_patterns_translate_stems_and_keep_the_last_component(
    canonical: str, expected: str
) -> None:
    assert TensorNames(_PATTERNS)(canonical) == expected


def test_without_patterns_names_stay() -> None:
    name = "model.layers.3.mlp.up_proj.weight"
    assert TensorNames()(name) == name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.embed_tokens.weight", "lm_head.weight"], "model."),
        (["embed_tokens.weight", "norm.weight"], ""),
        (["language_model.model.embed_tokens.weight"], "language_model.model."),
        (["bert.embeddings.word_embeddings.weight"], "bert."),
        (["embeddings.word_embeddings.weight"], ""),
        (["a.embed_tokens.weight", "b.embed_tokens.weight"], "model."),
        (["norm.weight"], "model."),
    ],
)
def test_the_prefix_of_a_bare_model(names: list[str], expected: str) -> None:
    prefix = model_prefix(names)
    assert prefix == expected
    assert TensorNames(prefix=prefix)("model.norm.weight") == f"{expected}norm.weight"
    assert TensorNames(prefix=prefix)("lm_head.weight") == "lm_head.weight"


def test_no_type_or_architecture_belongs_to_two_families() -> None:
    for kinds in ("MODEL_TYPES", "GGUF_ARCHITECTURES"):
        names = [name for family in families() for name in getattr(family, kinds)]
        assert len(names) == len(set(names))
        assert names


def test_no_two_tensors_of_a_family_share_a_gguf_name() -> None:
    for family in families():
        targets = list(family.GGUF_TENSORS.values())
        assert len(targets) == len(set(targets))
