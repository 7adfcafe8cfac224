"""The loader: which format a tensor is packed in, in which order, and that it is read once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ftllm import _core
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.engine.names import TensorNames
from ftllm.engine.weights import RowOrderOf, WeightLoader, weight_format
from ftllm.errors import CheckpointError
from tests.engine.models.steps import DEFAULTS, build, chunked
from tests.formats.gguf_blocks import decode, random_blocks
from tests.golden.rows import load_row, write_model

Float32Array = npt.NDArray[np.float32]


@dataclass(slots=True)
class FakeCheckpoint:
    """Tensors in memory; keeps what was read and what was released."""

    tensors: Mapping[str, TensorData]
    format: str = "safetensors"
    config: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    generation_config: Mapping[str, object] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    def names(self) -> Collection[str]:
        return self.tensors.keys()

    def tensor(self, name: str) -> TensorData:
        if name not in self.tensors:
            raise CheckpointError(f"no tensor {name!r}")
        self.read.append(name)
        return self.tensors[name]

    def release(self, name: str) -> None:
        self.released.append(name)

    def close(self) -> None:
        raise AssertionError("the loader does not own the checkpoint")


def f32(name: str, values: Float32Array) -> TensorData:
    return TensorData(name, values.shape, "f32", memoryview(values.tobytes()))


def normal(*shape: int, seed: int = 0) -> Float32Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def make_loader(
    *tensors: TensorData, dtype: str = "auto", row_order: RowOrderOf | None = None
) -> tuple[WeightLoader, FakeCheckpoint, list[int]]:
    checkpoint = FakeCheckpoint({tensor.name: tensor for tensor in tensors})
    consumed: list[int] = []
    loader = WeightLoader(
        checkpoint,
        TensorNames(),
        dtype=dtype,
        pool=_core.ThreadPool(threads=2),
        row_order=row_order,
        on_bytes=consumed.append,
    )
    return loader, checkpoint, consumed


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("auto", None), ("float32", "f32"), ("float16", "f16"), ("bfloat16", "bf16"),
        ("int8", "int8"), ("int4g", "int4g128"), ("int4g32", "int4g32"), ("int4g64", "int4g64"),
        ("int4g128", "int4g128"), ("int4g256", "int4g256"), ("fp8_e4m3", "fp8"),
        ("int8g", "int8"), ("int8g128", "int8"), ("int8g32", "q8_0"),
    ],
)  # fmt: skip
def test_dtype_names(dtype: str, expected: str | None) -> None:
    assert weight_format(dtype) == expected
    assert expected is None or expected in _core.weight_formats()


@pytest.mark.parametrize(
    ("dtype", "role", "expected"),
    [
        ("auto", "linear", "f32"),
        ("auto", "embedding", "f32"),
        ("bfloat16", "linear", "bf16"),
        ("int8", "linear", "int8"),
        ("int4g", "linear", "int4g128"),
        ("int4g", "embedding", "int8"),
        ("int4g32", "router", "f32"),
        ("float16", "router", "f32"),
    ],
)
def test_the_role_decides_the_format(dtype: str, role: str, expected: str) -> None:
    values = normal(40, 128)
    loader, _, _ = make_loader(f32("m.weight", values), dtype=dtype)
    weight = loader.matrix("m.weight", 40, 128, role=role)
    assert weight.format == expected
    assert np.abs(weight.unpack() - values).max() < 0.3
    assert loader.formats == (expected,)
    assert loader.packed_bytes == weight.nbytes


def test_a_matrix_is_read_once_and_released() -> None:
    values = normal(40, 16)
    loader, checkpoint, consumed = make_loader(f32("m.weight", values))
    weight = loader.matrix("m.weight", 40, 16)
    assert loader.matrix("m.weight", 40, 16) is weight
    np.testing.assert_array_equal(weight.unpack(), values)
    assert checkpoint.read == ["m.weight"]
    assert set(checkpoint.released) == {"m.weight"}
    assert sum(consumed) == values.nbytes


@pytest.mark.parametrize("dtype", ["auto", "int8"])
def test_rows_are_packed_in_the_wished_order(dtype: str) -> None:
    values = normal(40, 16)
    order = np.random.default_rng(1).permutation(40)
    ordered, _, _ = make_loader(
        f32("m.weight", values), dtype=dtype,
        row_order=lambda name: order if name == "m.weight" else None,
    )  # fmt: skip
    straight, _, _ = make_loader(f32("m.weight", values), dtype=dtype)
    np.testing.assert_array_equal(
        ordered.matrix("m.weight", 40, 16).unpack(),
        straight.matrix("m.weight", 40, 16).unpack()[order],
    )


def test_vectors_are_float32_whatever_their_format() -> None:
    blocks = random_blocks("q8_0", 2, 3)
    quantized = TensorData("b.bias", (64,), "q8_0", memoryview(blocks.tobytes()))
    order = np.arange(64)[::-1].copy()
    loader, _, consumed = make_loader(
        quantized, f32("n.weight", normal(24)),
        row_order=lambda name: order if name == "b.bias" else None,
    )  # fmt: skip
    found = loader.vector("b.bias", 64)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, decode("q8_0", blocks).reshape(-1)[order])
    np.testing.assert_array_equal(loader.vector("n.weight", 24), normal(24))
    assert sum(consumed) == 68 + 96


@pytest.mark.parametrize("stacked", [False, True])
def test_experts_from_one_tensor_or_from_many(stacked: bool) -> None:
    values = normal(3, 10, 32)
    if stacked:
        tensors = [f32("mlp.experts.up_proj.weight", values)]
    else:
        tensors = [f32(f"mlp.experts.{e}.up_proj.weight", v) for e, v in enumerate(values)]
    loader, checkpoint, consumed = make_loader(*tensors)
    weight = loader.experts("mlp.experts.{e}.up_proj", 3, 10, 32)
    assert loader.experts("mlp.experts.{e}.up_proj", 3, 10, 32) is weight
    for expert in range(3):
        np.testing.assert_array_equal(weight.unpack(expert), values[expert])
    assert sum(consumed) == values.nbytes
    assert set(checkpoint.released) == {tensor.name for tensor in tensors}


@pytest.mark.parametrize("shape", [(3, 10, 31), (2, 10, 32), (30, 32)])
def test_stacked_experts_of_another_shape(shape: tuple[int, ...]) -> None:
    loader, _, _ = make_loader(f32("experts.up_proj.weight", normal(*shape)))
    with pytest.raises(CheckpointError, match=r"experts.up_proj.weight.*\(3, 10, 32\)"):
        loader.experts("experts.{e}.up_proj", 3, 10, 32)


def test_experts_of_different_formats_take_the_first_ones() -> None:
    values = normal(2, 4)
    half = values.astype(np.float16)
    odd = TensorData("experts.1.up.weight", (2, 4), "f16", memoryview(half.tobytes()))
    loader, _, _ = make_loader(f32("experts.0.up.weight", values), odd)
    weight = loader.experts("experts.{e}.up", 2, 2, 4)
    assert weight.format == "f32"
    np.testing.assert_array_equal(weight.unpack(0), values)
    np.testing.assert_array_equal(weight.unpack(1), half.astype(np.float32))


def cosine(a: Float32Array, b: Float32Array) -> float:
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize(
    ("dtype", "least"),
    [
        ("float16", 0.99999), ("bfloat16", 0.9999), ("int8", 0.99), ("int4g32", 0.9),
        ("int4g", 0.85), ("int4g256", 0.85),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "qwen3_moe"])
def test_conversion_at_load_stays_close(
    name: str, dtype: str, least: float, tmp_path: Path
) -> None:
    """Logits against transformers' in float32. Uniform random weights are the worst for 4 bits."""
    row = load_row(name)
    path = write_model(row, tmp_path / "model")
    options = replace(DEFAULTS, dtype=dtype, kv_cache_dtype="float16")
    model = build(path, options)
    assert weight_format(dtype) in model.weight_formats
    found = chunked(model.core, row.prompt_ids, [0, 1], len(row.prompt_ids))
    assert cosine(found, row.logits) >= least


@pytest.mark.parametrize("kv_dtype", ["float16", "bfloat16", "int8"])
def test_narrow_kv_caches_stay_close(kv_dtype: str, tmp_path: Path) -> None:
    row = load_row("qwen3")
    path = write_model(row, tmp_path / "model")
    model = build(path, replace(DEFAULTS, kv_cache_dtype=kv_dtype))
    found = chunked(model.core, row.prompt_ids, [0, 1], 5)
    assert cosine(found, row.logits) >= 0.999


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("int4g", "int8"), ("int4z32", "int8"), ("int4", "int8"), ("q4_0", "q4_0"), ("auto", "f32")],
)
def test_shared_keys_and_values_stay_at_8_bits(dtype: str, expected: str) -> None:
    """Where int4… is asked for; the names of GGUF's formats mean every matrix of a layer."""
    values = np.random.default_rng(1).standard_normal((32, 256)).astype(np.float32)
    loader, _, _ = make_loader(
        TensorData("k", (32, 256), "f32", values.data.cast("B")), dtype=dtype
    )
    assert loader.matrix("k", 32, 256, role="shared_kv").format == expected
