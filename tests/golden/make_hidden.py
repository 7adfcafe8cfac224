"""Recompute the golden hidden states with transformers (needs torch and transformers >= 5).

python -m tests.golden.make_hidden [ROW …]          from the repository's root
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from tests.golden.encoders import ENCODERS, classifies
from tests.golden.hidden import HIDDEN_SEEDS, HiddenRow, as_pair, hidden_config, write_bare_model
from tests.golden.rows import GOLDEN_DIR
from tests.golden.weights import fingerprint, make_weights

PROMPT_LENGTH = 70  # more than two KV blocks


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=list(HIDDEN_SEEDS))
    torch.set_num_threads(1)
    for name in parser.parse_args().rows:
        _save(name)


def _save(name: str) -> None:
    config, seed = hidden_config(name), HIDDEN_SEEDS[name]
    weights = make_weights(config, seed)
    generator = np.random.Generator(np.random.PCG64([seed, PROMPT_LENGTH]))
    prompt = generator.integers(3, config["vocab_size"], PROMPT_LENGTH).tolist()
    if "classifier" in name:
        prompt = as_pair(prompt)
    row = HiddenRow(config, weights, tuple(prompt), np.zeros((0, 0), np.float32))
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_bare_model(row, Path(temporary))
        with_head = name in ENCODERS and classifies(config)
        options = {"add_pooling_layer": False} if name in ENCODERS and not with_head else {}
        kind = AutoModelForSequenceClassification if with_head else AutoModel
        model, info = kind.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
            **options,
        )
    if problems := {key: value for key, value in info.items() if value}:
        raise SystemExit(f"{name}: the weights do not fit the model: {problems}")
    with torch.no_grad():
        answer = model.eval()(torch.tensor([prompt]))
    # A classifier's logit of the whole prompt is kept as one hidden state, (1, 1).
    hidden = (answer.logits if with_head else answer.last_hidden_state[0]).numpy()
    (GOLDEN_DIR / name).mkdir(exist_ok=True)
    np.savez_compressed(
        GOLDEN_DIR / name / "hidden.npz",
        prompt_ids=np.array(prompt, np.int32),
        hidden=hidden,
        fingerprint=fingerprint(weights),
    )
    print(f"{name}: {hidden.shape}, max |hidden| {np.abs(hidden).max():.3g}")


if __name__ == "__main__":
    main()
