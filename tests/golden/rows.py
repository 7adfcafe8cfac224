"""The golden rows: tiny random models and what transformers computes for them in float32.

`load_row` reads a row, `write_model` writes its checkpoint as a Hugging Face folder and
`tests.golden.gguf_files.write_gguf` as a GGUF file. NumPy only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.golden.weights import Config, Float32Array, fingerprint, make_weights

GOLDEN_DIR = Path(__file__).parent
RELATIVE_TOLERANCE = 2e-4  # of max |logit| of the row

# Row name to seed. The seeds are chosen so that no argmax of a row is a near tie.
SEEDS: Mapping[str, int] = {
    "llama": 1,
    "llama_gqa": 3,
    "llama_bias": 7,
    "llama_linear": 1,
    "llama_linear_old": 1,
    "llama_dynamic": 2,
    "llama_dynamic_beyond": 1,
    "llama_llama3": 3,
    "llama_llama3_old": 3,
    "llama_yarn": 2,
    "mistral": 2,
    "qwen2": 1,
    "qwen2_window": 1,
    "qwen2_window_off": 1,
    "qwen3": 3,
    "gemma3": 2,
    "gemma3_old": 2,
    "gemma3_pattern": 1,
    "qwen3_moe": 1,
    "qwen3_moe_unnormed": 1,
    "qwen3_moe_mixed": 1,
}

# Rows in another spelling of the config of the named row: same weights, same golden.npz.
SAME_GOLDEN: Mapping[str, str] = {
    "llama_linear_old": "llama_linear",
    "llama_llama3_old": "llama_llama3",
    "gemma3_old": "gemma3",
}


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """One tiny model, a prompt and transformers' answer. V = vocab_size, P = prompt length."""

    name: str
    seed: int
    config: Config  # the content of config.json
    prompt_ids: tuple[int, ...]  # (P,)
    logits: Float32Array  # (P, V) one prefill of the prompt
    greedy_ids: tuple[int, ...]  # (16,) the first is the argmax of logits[-1]
    greedy_logits: Float32Array  # (16, V) row i is what greedy_ids[i] is the argmax of
    max_model_len: int
    """Context to load the model with. It matters to `llama_dynamic*` alone, whose RoPE base is a
    function of the sequence length: all their logits come from passes of this length."""

    @property
    def max_difference(self) -> float:
        """Largest |Δlogit| that counts as agreement."""
        largest = max(np.abs(self.logits).max(), np.abs(self.greedy_logits).max())
        return float(largest) * RELATIVE_TOLERANCE


def load_row(name: str) -> GoldenRow:
    """Row `name` of `SEEDS`. Raises KeyError for any other name."""
    seed = SEEDS[name]
    config = json.loads((GOLDEN_DIR / name / "config.json").read_text())
    with np.load(GOLDEN_DIR / SAME_GOLDEN.get(name, name) / "golden.npz") as golden:
        if fingerprint(make_weights(config, seed)) != int(golden["fingerprint"]):
            raise ValueError(f"The weights of row {name} changed: run tests/golden/make_models.py.")
        return GoldenRow(
            name=name,
            seed=seed,
            config=config,
            prompt_ids=tuple(golden["prompt_ids"].tolist()),
            logits=golden["logits"],
            greedy_ids=tuple(golden["greedy_ids"].tolist()),
            greedy_logits=golden["greedy_logits"],
            max_model_len=int(golden["max_model_len"]),
        )


def write_model(row: GoldenRow, folder: Path, dtype: str = "float32") -> Path:
    """Write config.json and model.safetensors into `folder` (made if missing); returns it.

    dtype: float32, float16 or bfloat16; the weights are exact in each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**row.config, "dtype": dtype}))
    write_safetensors(folder / "model.safetensors", make_weights(row.config, row.seed), dtype)
    return folder


def write_safetensors(
    path: Path, tensors: Mapping[str, Float32Array], dtype: str = "float32"
) -> None:
    """Header length (u64), JSON header, data: https://huggingface.co/docs/safetensors."""
    label, encode = {
        "float32": ("F32", _to_float32),
        "float16": ("F16", _to_float16),
        "bfloat16": ("BF16", to_bfloat16),
    }[dtype]
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    blobs: list[bytes] = []
    end = 0
    for name, value in tensors.items():
        blobs.append(encode(value).tobytes())
        start, end = end, end + len(blobs[-1])
        header[name] = {"dtype": label, "shape": value.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # data starts 8-byte aligned
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def to_bfloat16(values: Float32Array) -> npt.NDArray[np.generic]:
    """Bit patterns (uint16), rounded to nearest even."""
    bits = np.ascontiguousarray(values, "<f4").view("<u4")
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, "<u2")


def _to_float32(values: Float32Array) -> npt.NDArray[np.generic]:
    return values.astype("<f4")


def _to_float16(values: Float32Array) -> npt.NDArray[np.generic]:
    return values.astype("<f2")
