"""Tensor names of a checkpoint for the names that model files use (Hugging Face's)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_MODEL = "model."
# A checkpoint of the bare model, without what its tasks put around it, has names without "model.".
_EMBEDDINGS = ("embed_tokens.weight", "embeddings.word_embeddings.weight")


def model_prefix(names: Collection[str]) -> str:
    """What a safetensors checkpoint with tensors `names` writes for "model.". It is found by the
    embedding table, which every model has; "model." when there is none, or several."""
    found = {
        name.removesuffix(table) for table in _EMBEDDINGS for name in names if name.endswith(table)
    }
    return found.pop() if len(found) == 1 else _MODEL


class TensorNames:
    """Translates canonical names. `patterns` maps canonical stems to the checkpoint's, with {i} for
    a layer number: "model.layers.{i}.mlp.up_proj" → "blk.{i}.ffn_up". The last component
    ("weight", "bias") is kept. Without patterns, names are taken as they are, but for `prefix`,
    which stands for "model.".
    """

    def __init__(self, patterns: Mapping[str, str] | None = None, *, prefix: str = _MODEL) -> None:
        self._patterns = patterns
        self._prefix = prefix

    def __call__(self, canonical: str) -> str:
        if self._patterns is None:
            inner = canonical.removeprefix(_MODEL)
            return canonical if inner == canonical else self._prefix + inner
        stem, _, kind = canonical.rpartition(".")
        layer = re.search(r"\.(\d+)\.", stem)
        key = stem if layer is None else stem.replace(layer.group(0), ".{i}.", 1)
        translated = self._patterns.get(key)
        if translated is None:
            return canonical
        number = "" if layer is None else layer.group(1)
        return f"{translated.replace('{i}', number)}.{kind}"


def stacked_name(name: str) -> str:
    """Canonical, of the tensor that has all experts of `name`, in which "{e}" is an expert's
    number."""
    return name.replace("{e}.", "") + ".weight"


def expert_name(name: str, expert: int) -> str:
    """The same of the tensor that has one expert."""
    return name.replace("{e}", str(expert)) + ".weight"
