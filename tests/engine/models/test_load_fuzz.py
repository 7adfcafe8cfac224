"""Damaged files through the whole way to logits: a model that runs, or an `FtllmError`."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine.build import BuildOptions, build_model
from ftllm.engine.checkpoints import open_checkpoint
from ftllm.errors import FtllmError
from tests.checkpoints.files import Tensor, gguf_bytes, quantized, tiny_metadata
from tests.checkpoints.test_fuzz import mutate
from tests.engine.models.steps import DEFAULTS, Part, trace
from tests.golden.rows import load_row, write_model

_OPTIONS = replace(DEFAULTS, dtype="auto", tokens=64, max_model_len=None, max_batched_tokens=8)


_ODD_VALUES: tuple[object, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 16, 33, 128, 2**31, 2**63, 2**64, 10**400, 0.0, -0.5,
    1e-300, 1e300, float("nan"), float("inf"), "", "F16", "BF16", "I64", "gelu_new", "yarn",
    "llama3", "dynamic", "qwen2", "gemma3_text", [], [0], [1, 2], [None] * 3, {},
    ["full_attention"] * 2, {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1.5}, {"a": {}},
)  # fmt: skip


@dataclass(slots=True)
class Outcome:
    """How many files ran, and the messages of those that did not."""

    ran: int
    refused: list[str]


def run(path: Path, options: BuildOptions) -> bool:
    """Three steps' worth of tokens; NaN logits are fine, a crash is not."""
    checkpoint = open_checkpoint(path)
    try:
        model = build_model(checkpoint, options, on_bytes=lambda _: None)
        ids = [token % model.config.vocab_size for token in (0, 1, 50, 89)]
        values = trace(model.core, [Part(ids, [1])])
        last = list(values.values())[-1]
        assert last.shape == (4, model.config.vocab_size)
        return True
    finally:
        checkpoint.close()


def attempt(path: Path, outcome: Outcome) -> None:
    try:
        outcome.ran += run(path, _OPTIONS)
    except FtllmError as error:
        outcome.refused.append(str(error))


def fuzz(file: Path, opened: Path, damage: Callable[[bytes], bytes], count: int) -> None:
    """`count` damaged versions of `file`, which is (part of) the model at `opened`."""
    data = file.read_bytes()
    outcome = Outcome(0, [])
    with np.errstate(all="ignore"):
        assert run(opened, _OPTIONS)
        for _ in range(count):
            # A new file each time: the old one may still be mapped.
            file.unlink()
            file.write_bytes(damage(data))
            attempt(opened, outcome)
    assert count // 100 < outcome.ran < count
    assert len(set(outcome.refused)) > 20  # many different complaints
    assert all(outcome.refused)


def damage_json(text: bytes, source: random.Random) -> bytes:
    """One value somewhere inside replaced, dropped, or stored under another key."""
    root = json.loads(text)
    node = root
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = source.choice(keys)
        if not (isinstance(node[key], dict | list) and node[key] and source.random() < 0.9):
            break
        node = node[key]
    kind = source.randrange(4)
    if kind == 0 and isinstance(node, dict):
        node[source.choice(keys)] = node.pop(key)
    elif kind == 1:
        del node[key]
    elif kind == 2 and isinstance(node[key], int):
        node[key] = node[key] * source.choice((-1, 0, 2)) + source.choice((-32, -1, 1, 32))
    else:
        node[key] = source.choice(_ODD_VALUES)
    return json.dumps(root).encode()


def tiny_gguf() -> tuple[bytes, int]:
    """A model of hidden size 32 with matrices of several formats, and its header's length."""
    keys = {
        "embedding_length": 32,
        "feed_forward_length": 64,
        "attention__head_count": 2,
        "attention__head_count_kv": 1,
        "block_count": 1,
    }
    norms = [
        Tensor(name, (32,), "f32", np.ones(32, np.float32).tobytes())
        for name in ("output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
    ]
    matrices = [
        quantized("token_embd.weight", (90, 32), "q8_0"),
        quantized("output.weight", (90, 32), "q5_1"),
        quantized("blk.0.attn_q.weight", (32, 32), "q4_0"),
        quantized("blk.0.attn_k.weight", (16, 32), "q4_1"),
        quantized("blk.0.attn_v.weight", (16, 32), "q5_0"),
        quantized("blk.0.attn_output.weight", (32, 32), "f16"),
        quantized("blk.0.ffn_gate.weight", (64, 32), "bf16"),
        quantized("blk.0.ffn_up.weight", (64, 32), "f32"),
        quantized("blk.0.ffn_down.weight", (32, 64), "q8_0"),
    ]
    tensors = matrices + norms
    data = gguf_bytes(tiny_metadata(**keys), tensors)
    return data, len(data) - sum(-(-len(tensor.data) // 32) * 32 for tensor in tensors)


def test_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    data, header = tiny_gguf()
    path.write_bytes(data)
    source = random.Random(1)
    fuzz(path, path, lambda data: mutate(data, header, source), 2000)


def test_gguf_architecture_keys_and_tensor_table(tmp_path: Path) -> None:
    """Without the tokenizer's part of the header, where damage does not matter here."""
    path = tmp_path / "model.gguf"
    data, header = tiny_gguf()
    path.write_bytes(data)
    tokens, table = data.index(b"tokenizer.ggml.model"), data.index(b"token_embd.weight") - 8
    source = random.Random(2)

    def damage(data: bytes) -> bytes:
        front = data[:tokens], data[table:header]
        part = source.randrange(2)
        broken = mutate(front[part], len(front[part]), source)
        if part == 0:
            return broken + data[tokens:]
        return data[:table] + broken + data[header:]

    fuzz(path, path, damage, 2000)


def test_gguf_weights(tmp_path: Path) -> None:
    """Any bytes are weights: NaN scales, infinities, subnormals."""
    path = tmp_path / "model.gguf"
    data, header = tiny_gguf()
    for seed in range(40):
        noise = np.random.default_rng(seed).bytes(len(data) - header)
        path.write_bytes(data[:header] + noise)
        with np.errstate(all="ignore"):
            assert run(path, _OPTIONS)


def safetensors_header(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def test_safetensors(tmp_path: Path) -> None:
    """Half of the headers with broken bytes, half valid JSON with something odd inside."""
    folder = write_model(load_row("llama"), tmp_path / "model")
    source = random.Random(3)

    def damage(data: bytes) -> bytes:
        header = safetensors_header(data)
        if source.random() < 0.5:
            return mutate(data, header, source)
        text = damage_json(data[8:header], source)
        return struct.pack("<Q", len(text)) + text + data[header:]

    fuzz(folder / "model.safetensors", folder, damage, 2000)


@pytest.mark.parametrize("name", ["llama_yarn", "qwen2_window", "gemma3", "qwen3_moe"])
def test_config(name: str, tmp_path: Path) -> None:
    folder = write_model(load_row(name), tmp_path / "model")
    source = random.Random(name)
    fuzz(folder / "config.json", folder, lambda data: damage_json(data, source), 500)
