"""Recompute the golden rows with transformers (needs torch and transformers >= 5).

python -m tests.golden.make_models [ROW …]          from the repository's root
python -m tests.golden.make_models --find_seed ROW  try seeds until no argmax is a near tie
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.golden.configs import CONFIGS, source_config
from tests.golden.rows import (
    GOLDEN_DIR,
    RELATIVE_TOLERANCE,
    SAME_GOLDEN,
    SEEDS,
    write_safetensors,
)
from tests.golden.weights import Float32Array, fingerprint, make_weights

PROMPT_LENGTH = 36
GREEDY_STEPS = 16
TOTAL = PROMPT_LENGTH + GREEDY_STEPS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=list(SEEDS))
    parser.add_argument("--find_seed", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.rows:
        config = _write_config(name)
        if options.find_seed:
            seeds = range(1, 200)
            print(name, next(s for s in seeds if not _weakness(_compute(name, config, s))))
            continue
        golden = _compute(name, config, SEEDS[name])
        if problem := _weakness(golden):
            raise SystemExit(f"{name}: seed {SEEDS[name]}: {problem}; use --find_seed")
        _save(name, golden)


def _write_config(name: str) -> dict[str, Any]:
    folder = GOLDEN_DIR / name
    folder.mkdir(exist_ok=True)
    source = source_config(name)
    if name in CONFIGS:
        family = source.pop("model_type")
        config = AutoConfig.for_model(family, **source)
        model_class = AutoModelForCausalLM._model_mapping[type(config)]
        config.architectures = [model_class.__name__]
        config.save_pretrained(folder)
    else:
        (folder / "config.json").write_text(json.dumps(source, indent=2) + "\n")
    result: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return result


def _compute(name: str, config: dict[str, Any], seed: int) -> dict[str, Any]:
    weights = make_weights(config, seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "config.json").write_text(json.dumps(config))
        write_safetensors(folder / "model.safetensors", weights)
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    problems = {key: value for key, value in info.items() if value}
    if problems:
        raise SystemExit(f"{name}: the weights do not fit the model: {problems}")
    routers = _record_routers(model)
    generator = np.random.Generator(np.random.PCG64([seed, PROMPT_LENGTH]))
    prompt = generator.integers(3, config["vocab_size"], PROMPT_LENGTH).tolist()
    dynamic = name.startswith("llama_dynamic")
    ids: list[int] = list(prompt)
    steps: list[Float32Array] = []
    for _ in range(GREEDY_STEPS):
        # Causal attention hides the padding; it fixes the length that a dynamic RoPE scales for.
        padding = [0] * (TOTAL - len(ids)) if dynamic else []
        steps.append(_forward(model, ids + padding)[len(ids) - 1])
        ids.append(int(steps[-1].argmax()))
    routers.clear()
    logits = _forward(model, ids)
    return {
        "prompt_ids": np.array(prompt, np.int32),
        "logits": logits[:PROMPT_LENGTH],
        "greedy_ids": np.array(ids[PROMPT_LENGTH:], np.int32),
        "greedy_logits": np.stack(steps),
        "max_model_len": max(TOTAL, config["max_position_embeddings"]),
        "fingerprint": fingerprint(weights),
        "routers": list(routers),
        "experts": config.get("num_experts_per_tok", 0),
    }


def _forward(model: Any, ids: list[int]) -> Float32Array:
    with torch.no_grad():
        logits: Float32Array = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    return logits


def _record_routers(model: Any) -> list[Float32Array]:
    """Collects the router logits (T, E) of every sparse layer at each forward pass."""
    recorded: list[Float32Array] = []
    for name, module in model.named_modules():
        if name.endswith("mlp.gate"):
            module.register_forward_hook(
                lambda gate, inputs, _: recorded.append(
                    (inputs[0].reshape(-1, gate.weight.shape[1]) @ gate.weight.T).numpy()
                )
            )
    return recorded


def _weakness(golden: dict[str, Any]) -> str | None:
    """Why a seed is a poor test: a choice that rounding could flip, or a stuck model."""
    rows = np.concatenate([golden["logits"], golden["greedy_logits"]])
    limit = 4 * RELATIVE_TOLERANCE * float(np.abs(rows).max())
    top = np.sort(rows, axis=1)
    if (margin := float((top[:, -1] - top[:, -2]).min())) < limit:
        return f"argmax margin {margin:.2g} is below {limit:.2g}"
    for scores in golden["routers"]:
        ranked, k = np.sort(scores, axis=1)[:, ::-1], golden["experts"]
        if (gap := float((ranked[:, k - 1] - ranked[:, k]).min())) < 2e-3:
            return f"router margin {gap:.2g} is below 2e-3"
    if len(set(golden["greedy_ids"].tolist())) < 6:
        return "the greedy continuation repeats itself"
    return None


def _save(name: str, golden: dict[str, Any]) -> None:
    arrays = {key: np.asarray(v) for key, v in golden.items() if key not in ("routers", "experts")}
    path = GOLDEN_DIR / SAME_GOLDEN.get(name, name) / "golden.npz"
    if name in SAME_GOLDEN:
        with np.load(path) as other:
            for key, value in arrays.items():
                np.testing.assert_array_equal(value, other[key], err_msg=f"{name}: {key}")
    else:
        np.savez_compressed(path, **arrays)
    largest = float(np.abs(golden["logits"]).max())
    print(f"{name}: max |logit| {largest:.3g}, greedy {golden['greedy_ids'].tolist()}")


if __name__ == "__main__":
    warnings.simplefilter("error")
    main()
