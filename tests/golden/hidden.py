"""Golden final hidden states: what transformers' bare model gives for a prompt, in float32."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.encoders import ENCODERS
from tests.golden.rows import GOLDEN_DIR, SEEDS, write_safetensors
from tests.golden.weights import Float32Array, fingerprint, make_weights

HIDDEN_TOLERANCE = 1e-4  # of max |hidden state| of the row
# Encoders and some decoders of the golden rows, with the seed of their weights.
HIDDEN_SEEDS: Mapping[str, int] = {
    **dict.fromkeys(ENCODERS, 1),
    **{name: SEEDS[name] for name in ("llama", "qwen3", "gemma3")},
}


@dataclass(frozen=True, slots=True)
class HiddenRow:
    """P = prompt length, H = hidden_size."""

    config: Mapping[str, Any]
    weights: Mapping[str, Float32Array]
    prompt_ids: tuple[int, ...]  # (P,)
    hidden: Float32Array  # (P, H) behind the last norm; (1, 1) of a classifier: its logit

    @property
    def max_difference(self) -> float:
        return float(np.abs(self.hidden).max()) * HIDDEN_TOLERANCE


CLS, SEP = 3, 4  # of the classifiers' prompts
FIRST_WORD = 7  # ids from here on are words


def as_pair(ids: Sequence[int]) -> list[int]:
    """Two texts of words as one sequence of the same length; the first has 20."""
    words = [max(token_id, FIRST_WORD) for token_id in ids]
    return [CLS, *words[1:21], SEP, SEP, *words[23:-1], SEP]


def hidden_config(name: str) -> dict[str, Any]:
    """The content of the row's config.json."""
    if name in ENCODERS:
        return ENCODERS[name]
    config: dict[str, Any] = json.loads((GOLDEN_DIR / name / "config.json").read_text())
    return config


def load_hidden(name: str) -> HiddenRow:
    """Row `name` of `HIDDEN_SEEDS`."""
    config = hidden_config(name)
    weights = make_weights(config, HIDDEN_SEEDS[name])
    with np.load(GOLDEN_DIR / name / "hidden.npz") as golden:
        if fingerprint(weights) != int(golden["fingerprint"]):
            raise ValueError(f"The weights of row {name} changed: run tests/golden/make_hidden.py.")
        return HiddenRow(config, weights, tuple(golden["prompt_ids"].tolist()), golden["hidden"])


def write_bare_model(row: HiddenRow, folder: Path, *, prefix: str = "") -> Path:
    """A checkpoint of the bare model, whose tensor names begin with `prefix` where a causal
    language model's begin with "model."."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(row.config))
    tensors = {prefix + name.removeprefix("model."): value for name, value in row.weights.items()}
    write_safetensors(folder / "model.safetensors", tensors)
    return folder
