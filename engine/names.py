"""Tensor names of a checkpoint for the names that model files use (Hugging Face's)."""

from __future__ import annotations

import re
from collections.abc import Mapping


class TensorNames:
    """Translates canonical names. `patterns` maps canonical stems to the checkpoint's, with {i} for
    a layer number: "model.layers.{i}.mlp.up_proj" → "blk.{i}.ffn_up". The last component
    ("weight", "bias") is kept. Without patterns, names are taken as they are.
    """

    def __init__(self, patterns: Mapping[str, str] | None = None) -> None:
        self._patterns = patterns

    def __call__(self, canonical: str) -> str:
        if self._patterns is None:
            return canonical
        stem, _, kind = canonical.rpartition(".")
        layer = re.search(r"\.(\d+)\.", stem)
        key = stem if layer is None else stem.replace(layer.group(0), ".{i}.", 1)
        translated = self._patterns.get(key)
        if translated is None:
            return canonical
        number = "" if layer is None else layer.group(1)
        return f"{translated.replace('{i}', number)}.{kind}"
