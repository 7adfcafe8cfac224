"""Weights in shared memory: apart from each other, and alive as long as one of them."""

from __future__ import annotations

import gc

import numpy as np

from ftllm import _core


def filled(value: float, rows: int, columns: int, arena: _core.Arena | None) -> _core.Weight:
    weight = _core.Weight(format="f32", rows=rows, columns=columns, arena=arena)
    data = memoryview(np.full((rows, columns), value, np.float32).tobytes())
    pool = _core.ThreadPool(threads=1)
    weight.fill(first_row=0, count=rows, source="f32", data=data, pool=pool)
    return weight


def test_weights_do_not_overlap_and_outlive_the_arena() -> None:
    arena = _core.Arena()
    sizes = [(3, 5), (1, 1), (64, 33), (700, 900), (17, 1)]
    weights = [filled(float(i + 1), *size, arena) for i, size in enumerate(sizes)]
    assert arena.nbytes >= sum(weight.nbytes for weight in weights)
    del arena
    gc.collect()
    for i, (weight, size) in enumerate(zip(weights, sizes, strict=True)):
        values = weight.unpack()
        assert values.shape == size
        assert (values == i + 1).all()


def test_a_weight_larger_than_a_chunk_has_one_of_its_own() -> None:
    arena = _core.Arena()
    small = filled(1.0, 2, 2, arena)
    chunk = arena.nbytes
    rows = chunk // 4 // 1024 + 1
    large = _core.Weight(format="f32", rows=rows, columns=1024, arena=arena)
    assert large.nbytes > chunk
    # Sanitized builds put a red zone behind each weight.
    assert 0 <= arena.nbytes - (chunk + large.nbytes) <= 4096
    after = filled(2.0, 2, 2, arena)
    assert (small.unpack() == 1.0).all()
    assert (after.unpack() == 2.0).all()


def test_memory_is_taken_when_touched_and_given_back() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096

    before = resident()
    arena = _core.Arena()
    weight = filled(1.0, 4096, 1024, arena)  # 16 MiB
    with_weight = resident()
    assert with_weight - before < 128 << 20  # half of the chunk that was reserved
    del weight, arena
    gc.collect()
    assert with_weight - resident() > 12 << 20
