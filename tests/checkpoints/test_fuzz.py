"""Damaged headers: a file opens and its tensors can be read, or it is a `CheckpointError`."""

from __future__ import annotations

import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from ftllm.engine.checkpoints import open_checkpoint
from ftllm.errors import CheckpointError
from tests.checkpoints.files import (
    Tensor,
    gguf_bytes,
    quantized,
    safetensors_bytes,
    tiny_metadata,
    write_safetensors,
)

MUTATIONS = 2000
_LENGTHS = (0, 1, 7, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


def mutate(data: bytes, header: int, random_source: random.Random) -> bytes:
    """One of: flipped bits, a cut, a random 64-bit or 32-bit field, moved or repeated bytes."""
    damaged = bytearray(data)
    at = random_source.randrange(header)
    kind = random_source.randrange(6)
    if kind == 0:
        for _ in range(random_source.randint(1, 8)):
            damaged[random_source.randrange(header)] ^= 1 << random_source.randrange(8)
    elif kind == 1:
        del damaged[random_source.randrange(len(data)) :]
    elif kind == 2:
        damaged[at : at + 8] = struct.pack("<Q", random_source.choice(_LENGTHS))
    elif kind == 3:
        damaged[at : at + 4] = struct.pack("<I", random_source.randrange(64))
    elif kind == 4:
        del damaged[at : at + random_source.randint(1, 16)]
    else:
        damaged[at:at] = damaged[at : at + random_source.randint(1, 64)]
    return bytes(damaged)


def try_to_read(path: Path) -> bool:
    """Whether the file opens; every tensor of one that does is read to its last byte."""
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError:
        return False
    for name in checkpoint.names():
        try:
            tensor = checkpoint.tensor(name)
        except CheckpointError:
            continue
        assert len(bytes(tensor.data)) == tensor.data.nbytes
        checkpoint.release(name)
    checkpoint.close()
    return True


def fuzz(path: Path, opened: Path, data: bytes, header: int) -> None:
    random_source = random.Random(20240607)
    path.write_bytes(data)
    assert try_to_read(opened)
    survivors = 0
    tracemalloc.start()
    try:
        for _ in range(MUTATIONS):
            path.write_bytes(mutate(data, header, random_source))
            survivors += try_to_read(opened)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024**2  # bytes: the files have a few kilobytes
    assert 0 < survivors < MUTATIONS  # some damage is harmless, most is not


@pytest.mark.parametrize("version", [2, 3])
def test_gguf(tmp_path: Path, version: int) -> None:
    metadata = {**tiny_metadata(), "nested": [["a"], ["b", "c"]], "flags": [True, False]}
    tensors = [
        quantized("token_embd.weight", (8, 32), "q8_0"),
        quantized("blk.0.attn_q.weight", (2, 256), "q4_k"),
        quantized("output_norm.weight", (32,), "f32"),
    ]
    data = gguf_bytes(metadata, tensors, version=version)
    header = len(data) - sum(-(-len(tensor.data) // 32) * 32 for tensor in tensors)
    path = tmp_path / "model.gguf"
    fuzz(path, path, data, header)


def test_safetensors(tmp_path: Path) -> None:
    tensors = [
        Tensor("model.embed_tokens.weight", (8, 4), "F32", bytes(128)),
        Tensor("model.norm.weight", (4,), "BF16", bytes(8)),
        Tensor("lm_head.weight", (2, 4), "F16", bytes(16)),
    ]
    write_safetensors(tmp_path, [tensors])
    data = safetensors_bytes(tensors, metadata={"format": "pt"})
    fuzz(tmp_path / "model.safetensors", tmp_path, data, len(data) - 152)


def test_safetensors_index_and_config(tmp_path: Path) -> None:
    shards = [[Tensor("a", (2,), "F32", bytes(8))], [Tensor("b", (2,), "F32", bytes(8))]]
    write_safetensors(tmp_path, shards)
    index = tmp_path / "model.safetensors.index.json"
    data = index.read_bytes()
    random_source = random.Random(7)
    for _ in range(300):
        index.write_bytes(mutate(data, len(data), random_source))
        try_to_read(tmp_path)
    index.write_bytes(data)
    config = tmp_path / "config.json"
    data = config.read_bytes()
    for _ in range(300):
        config.write_bytes(mutate(data, len(data), random_source))
        try_to_read(tmp_path)
