"""Checkpoints of AWQ, GPTQ, FP8 and NVFP4: their weights are what the schemes say, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine.checkpoints import open_checkpoint
from ftllm.errors import CheckpointError, UnsupportedModelError
from tests.checkpoints.files import Tensor, write_safetensors
from tests.checkpoints.quantized_models import write_golden
from tests.checkpoints.quantized_parts import CASES, Float32Array
from tests.engine.models.steps import DEFAULTS, Part, build, logits
from tests.golden.rows import load_row
from tests.kernels.matrices import packed

_STEM = "model.layers.0.mlp.up_proj"


def weight(rows: int, columns: int) -> Float32Array:
    values = np.random.default_rng(2).standard_normal((rows, columns)) * 0.05
    return values.astype(np.float32)


def write_parts(folder: Path, settings: object, parts: Sequence[Tensor]) -> Path:
    config = {"model_type": "llama", "quantization_config": settings}
    plain = Tensor("model.norm.weight", (2,), "F32", bytes(8))
    return write_safetensors(folder, [[*parts, plain]], config=config)


@pytest.mark.parametrize("shape", [(8, 64), (40, 96), (264, 416)])
@pytest.mark.parametrize("name", CASES)
def test_a_weight_has_exactly_its_values(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    case = CASES[name]
    stored = case.store(_STEM, weight(*shape))
    checkpoint = open_checkpoint(write_parts(tmp_path, case.settings, stored.parts))
    assert sorted(checkpoint.names()) == [f"{_STEM}.weight", "model.norm.weight"]
    tensor = checkpoint.tensor(f"{_STEM}.weight")
    assert (tensor.shape, tensor.dtype) == (shape, case.format)
    assert checkpoint.tensor_bytes(f"{_STEM}.weight") == len(tensor.data)
    for target in (case.format, "f32"):
        found = packed(target, *shape, bytes(tensor.data), case.format).unpack()
        np.testing.assert_array_equal(found, stored.values)
    checkpoint.release(f"{_STEM}.weight")
    checkpoint.close()


@pytest.mark.parametrize("name", CASES)
def test_a_model_computes_what_its_values_do(name: str, tmp_path: Path) -> None:
    """Widened to float32 bit for bit; in its own width as close as that width's activations."""
    row = load_row("llama")
    blocks = list(range(8))
    plain = build(write_golden(tmp_path / "plain", name, exact=True))
    expected = logits(plain.core, [Part(row.prompt_ids, blocks)])[0]
    path = write_golden(tmp_path / "quantized", name, exact=False)
    wide = build(path)
    np.testing.assert_array_equal(logits(wide.core, [Part(row.prompt_ids, blocks)])[0], expected)
    own = build(path, replace(DEFAULTS, dtype="auto"))
    assert CASES[name].format in own.weight_formats
    found = logits(own.core, [Part(row.prompt_ids, blocks)])[0]
    bound = 1e-5 if CASES[name].format == "fp8" else 0.04
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def test_columns_out_of_order_are_refused(tmp_path: Path) -> None:
    case = CASES["gptq"]
    *parts, order = case.store(_STEM, weight(8, 64)).parts
    scattered = np.arange(64, dtype=np.int32) % 2
    parts.append(replace(order, data=scattered.tobytes()))
    checkpoint = open_checkpoint(write_parts(tmp_path, case.settings, parts))
    with pytest.raises(UnsupportedModelError, match=r"g_idx.*desc_act"):
        checkpoint.tensor(f"{_STEM}.weight")


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "bitsandbytes"},
        {},
        {"quant_method": "awq", "bits": 8},
        {"quant_method": "awq", "version": "gemv"},
        {"quant_method": "gptq", "bits": 3},
        {"quant_method": "fp8", "weight_block_size": [64, 64]},
        {"quant_method": "fp8", "weight_block_size": 128},
        {"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"},
        {"quant_method": "compressed-tensors", "format": "marlin-24"},
    ],
)
def test_other_schemes_are_refused(settings: dict[str, object], tmp_path: Path) -> None:
    path = write_parts(tmp_path, settings, [])
    with pytest.raises(UnsupportedModelError, match="supported"):
        open_checkpoint(path)


def test_settings_must_be_an_object(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="an object is expected"):
        open_checkpoint(write_parts(tmp_path, "awq", []))


@pytest.mark.parametrize(
    ("name", "missing"),
    [("awq", "scales"), ("gptq", "qzeros"), ("nvfp4", "weight_global_scale")],
)
def test_a_missing_part_is_named(name: str, missing: str, tmp_path: Path) -> None:
    case = CASES[name]
    parts = case.store(_STEM, weight(8, 64)).parts
    kept = [part for part in parts if not part.name.endswith(missing)]
    checkpoint = open_checkpoint(write_parts(tmp_path, case.settings, kept))
    with pytest.raises(CheckpointError, match=f"{_STEM}.{missing}.*missing"):
        checkpoint.tensor(f"{_STEM}.weight")


@pytest.mark.parametrize(
    ("name", "part"), [("awq", 2), ("gptq", 1), ("fp8_blocks", 1), ("nvfp4", 1)]
)
def test_parts_of_other_shapes_are_refused(name: str, part: int, tmp_path: Path) -> None:
    case = CASES[name]
    parts = list(case.store(_STEM, weight(8, 64)).parts)
    parts[part] = replace(parts[part], shape=(3, 5), data=parts[part].data[:0] + bytes(60))
    if name == "nvfp4":
        parts[part] = replace(parts[part], data=bytes(15))
    if name == "awq":
        parts[part] = replace(parts[part], data=bytes(30))
    checkpoint = open_checkpoint(write_parts(tmp_path, case.settings, parts))
    with pytest.raises(CheckpointError, match=r"does not go with"):
        checkpoint.tensor(f"{_STEM}.weight")


def test_scales_that_binary16_cannot_hold_are_refused(tmp_path: Path) -> None:
    case = CASES["gptq"]
    qweight, qzeros, scales, order = case.store(_STEM, weight(8, 64)).parts
    odd = np.full(scales.shape, 1e-9, np.float32)
    replaced = replace(scales, dtype="F32", data=odd.tobytes())
    parts = [qweight, qzeros, replaced, order]
    checkpoint = open_checkpoint(write_parts(tmp_path, case.settings, parts))
    with pytest.raises(UnsupportedModelError, match="binary16"):
        checkpoint.tensor(f"{_STEM}.weight")
