"""--dtype on a safetensors model: every format is made from float weights, and computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine.weights import dtype_warning, weight_format
from tests.engine.models.steps import DEFAULTS, Part, build, logits
from tests.golden.rows import load_row, write_model

# Root mean square of the logits' error over that of the logits, at most: random weights forgive
# less than trained ones.
_LOSS = {
    "float32": 1e-4, "float16": 1e-4, "bfloat16": 1e-4, "int8": 0.034, "q8_0": 0.034,
    "q6_k": 0.073, "fp8": 0.14, "q5_k": 0.165, "q5_1": 0.165, "q5_0": 0.165, "q4_k": 0.28,
    "q4_1": 0.28, "q4_0": 0.28, "iq4_nl": 0.3, "iq4_xs": 0.3, "int4g32": 0.28, "int4g64": 0.28,
    "int4g": 0.3, "int4g128": 0.3, "int4g256": 0.31, "int4": 0.31, "int4z32": 0.29,
    "int4z64": 0.33, "int4z": 0.33, "int4z128": 0.33, "mxfp4": 0.41, "nvfp4": 0.42, "q3_k": 0.51,
    "q2_k": 0.9,
}  # fmt: skip


@pytest.mark.parametrize("dtype", _LOSS)
def test_logits_stay_close(dtype: str, tmp_path: Path) -> None:
    row = load_row("llama")
    model = build(write_model(row, tmp_path / "m"), replace(DEFAULTS, dtype=dtype))
    assert weight_format(dtype) in model.weight_formats
    found = logits(model.core, [Part(row.prompt_ids, range(8))])[0]
    loss = float(np.sqrt(((found - row.logits) ** 2).mean() / (row.logits**2).mean()))
    assert loss <= _LOSS[dtype]


@pytest.mark.parametrize(("dtype", "embedding"), [("int4g", "int8"), ("q5_0", "q5_0")])
def test_a_coarse_format_spares_the_embedding(dtype: str, embedding: str, tmp_path: Path) -> None:
    row = load_row("llama")
    model = build(write_model(row, tmp_path / "m"), replace(DEFAULTS, dtype=dtype))
    assert set(model.weight_formats) == {weight_format(dtype), embedding}


def test_a_warning_names_the_better_choice() -> None:
    assert "int4g" in (dtype_warning("int4") or "")
    assert all(dtype_warning(dtype) is None for dtype in _LOSS if dtype != "int4")
